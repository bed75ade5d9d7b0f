from __future__ import annotations

import epp.plugins
from epp.core.plugin import REGISTRY


def test_loading_again_changes_nothing() -> None:
    before = dict(REGISTRY)
    epp.plugins.load()
    assert before == REGISTRY


def test_the_types_of_the_2025_release_are_in_the_catalogue() -> None:
    assert {
        "prefix-cache-scorer",
        "queue-scorer",
        "kv-cache-utilization-scorer",
        "lora-affinity-scorer",
        "max-score-picker",
        "random-picker",
        "weighted-random-picker",
        "single-profile-handler",
        "header-based-testing-filter",
    } <= REGISTRY.keys()

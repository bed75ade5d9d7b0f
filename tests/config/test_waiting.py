from __future__ import annotations

import pytest

from epp.config.waiting import WAITING
from epp.core.plugin import REGISTRY
from tests.config.told import refusals


def test_no_type_that_is_waited_for_is_there() -> None:
    names = {name for t in REGISTRY.values() for name in (t.name, *t.aliases)}
    assert names & WAITING.keys() == set()


@pytest.mark.parametrize("name", sorted(WAITING))
def test_whoever_declares_one_learns_why_it_cannot_be_used(name: str) -> None:
    assert refusals(f"plugins: [{{type: {name}, parameters: {{any: 1}}}}]") == [
        f"c.yaml:1: plugins[0].type: plugin type '{name}' cannot be used: {WAITING[name]}"
    ]


def test_whoever_refers_to_one_that_was_refused_hears_no_more_of_it() -> None:
    text = (
        "plugins: [{type: latency-scorer}]\n"
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: latency-scorer}]}]"
    )
    assert len(refusals(text)) == 1

from __future__ import annotations

import pytest

from epp.config.waiting import WAITING
from epp.core.plugin import REGISTRY
from tests.config.loading import NEW, refusals


def test_no_type_that_there_is_waits() -> None:
    there = {*REGISTRY, *(alias for declared in REGISTRY.values() for alias in declared.aliases)}
    assert not there & WAITING.keys()


@pytest.mark.parametrize("type_name", sorted(WAITING))
def test_who_names_a_waiting_type_is_told_why(type_name: str) -> None:
    (problem,) = refusals(NEW + f"plugins: [{{type: {type_name}, parameters: {{any: 1}}}}]")
    assert problem == (
        f"f:3: plugins[0].type: plugin type '{type_name}' cannot be used: {WAITING[type_name]}"
    )

from __future__ import annotations

from random import Random

import pytest

import epp.plugins
from epp.config.load import DEFAULT_CONFIG
from epp.core.plugin import REGISTRY
from lab.config_mutations import GENTLE, mutate
from lab.fuzz_config import FuzzError, bombs, campaign, changed, seeds, try_file

epp.plugins.load()


@pytest.mark.thorough
def test_a_seed_gives_the_same_files_again_and_another_one_others() -> None:
    first, again = ([changed(1, i, seeds()) for i in range(100)] for _ in "ab")
    assert first == again
    assert len(set(first)) > 90
    assert set(first).isdisjoint(changed(2, i, seeds()) for i in range(10))


@pytest.mark.parametrize(
    "text", ["", "- a", "a", "a: [", "plugins: 5", "plugins: [5, {type: [x]}]"]
)
def test_what_is_no_configuration_can_be_changed_too(text: str) -> None:
    for i in range(100):
        mutate(text, Random(i), REGISTRY)


@pytest.mark.parametrize("change", GENTLE, ids=lambda change: change.__name__)
def test_a_gentle_change_takes_any_document(change: object) -> None:
    assert callable(change)
    for i, document in enumerate([{}, {"plugins": None}, {"plugins": [{}]}] * 20):
        change(document, Random(i), REGISTRY)


def test_what_it_starts_from_is_right_or_refused_with_a_reason() -> None:
    assert sum(try_file(text) for text in seeds()) > 30


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(len(bombs())))
def test_a_file_made_to_hurt_is_refused(number: int) -> None:
    assert not try_file(bombs()[number])


@pytest.mark.thorough
def test_a_quarter_of_the_files_is_still_right() -> None:
    tried, loaded = campaign(1, files=300)
    assert tried == 300
    assert loaded > 75


@pytest.mark.parametrize("error", [FuzzError("a law"), KeyError("anything")])
def test_a_broken_law_is_told_with_the_file(error: Exception) -> None:
    def attempt(text: str) -> bool:
        if text == changed(1, 7, seeds()):
            raise error
        return True

    with pytest.raises(FuzzError) as raised:
        campaign(1, files=20, attempt=attempt)
    assert str(raised.value).startswith(f"seed 1/7: {type(error).__name__}: ")
    assert changed(1, 7, seeds()) in str(raised.value)
    assert DEFAULT_CONFIG not in str(raised.value)

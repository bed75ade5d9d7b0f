from __future__ import annotations

from random import Random

import pytest

import epp.plugins
from epp.config.load import DEFAULT_CONFIG
from lab.fuzz_config import bombs, campaign, mutate, seeds, try_file

epp.plugins.load()


def test_a_seed_gives_the_same_files_again() -> None:
    first, again = ([mutate(DEFAULT_CONFIG, Random(f"1/{i}")) for i in range(20)] for _ in "ab")
    assert first == again
    assert len(set(first)) > 10


def test_what_it_starts_from_is_right_or_refused_with_a_reason() -> None:
    assert sum(try_file(text) for text in seeds()) > 30


@pytest.mark.parametrize("number", range(len(bombs())))
def test_a_file_made_to_hurt_is_answered(number: int) -> None:
    try_file(bombs()[number])


def test_a_part_of_the_files_is_still_right() -> None:
    tried, loaded = campaign(1, files=300, seconds=60)
    assert tried == 300
    assert loaded > 30

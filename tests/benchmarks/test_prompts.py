from __future__ import annotations

import msgspec

from benchmarks.prompts import PromptKind, Prompts


def test_new_prompts_differ_from_their_first_characters_on() -> None:
    prompts = Prompts(characters=1_000, kind=PromptKind.NEW, stream=False, seed=1)
    texts = [msgspec.json.decode(prompts.body())["prompt"] for _ in range(20)]
    assert {len(text) for text in texts} == {1_000}
    assert len({text[:16] for text in texts}) == len(texts)


def test_repeated_prompts_are_equal() -> None:
    prompts = Prompts(characters=1_000, kind=PromptKind.REPEATED, stream=True, seed=1)
    first, second = prompts.body(), prompts.body()
    assert first == second
    assert msgspec.json.decode(first)["stream"] is True

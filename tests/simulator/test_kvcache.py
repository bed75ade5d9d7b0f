import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.simulator.errors import ApiError
from epp.simulator.kvcache import KVCache, Reservation, block_hashes


def blocks(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def test_blocks_stay_cached_after_their_request_but_are_not_used() -> None:
    cache = KVCache(4, 16)
    reservation = cache.start(blocks("ab"))
    assert cache.usage_ratio == 0.5
    cache.finish(reservation)
    assert cache.usage_ratio == 0
    assert cache.cached_tokens(blocks("abc")) == 32


def test_a_shared_block_is_used_until_its_last_holder_ends() -> None:
    cache = KVCache(4, 16)
    first, second = cache.start(blocks("ab")), cache.start(blocks("ac"))
    assert cache.usage_ratio == 0.75
    cache.finish(first)
    assert cache.usage_ratio == 0.5
    cache.finish(second)
    assert cache.usage_ratio == 0


def test_the_block_that_was_unused_longest_is_evicted_first_and_an_end_before_its_start() -> None:
    cache = KVCache(3, 1)
    cache.finish(cache.start(blocks("ab")))
    cache.finish(cache.start(blocks("cd")))
    assert [cache.cached_tokens(blocks(block)) for block in "abcd"] == [1, 0, 1, 1]


def test_a_prompt_that_does_not_fit_beside_the_used_blocks_is_refused() -> None:
    cache = KVCache(3, 16)
    held = cache.start(blocks("ab"))
    with pytest.raises(ApiError, match="sufficient capacity") as refused:
        cache.start(blocks("cd"))
    assert refused.value.status == 500
    cache.finish(held)
    cache.start(blocks("cd"))


def test_sleep_drops_everything_and_running_requests_may_still_finish() -> None:
    cache = KVCache(4, 16)
    held = cache.start(blocks("ab"))
    cache.sleep()
    assert cache.cached_tokens(blocks("ab")) == 0
    cache.finish(cache.start(blocks("ab")))
    cache.is_awake = True
    again = cache.start(blocks("a"))
    cache.finish(held)
    assert cache.usage_ratio == 0.25
    cache.finish(again)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abcdefgh"), unique=True))))
def test_usage_is_the_share_of_blocks_that_running_requests_hold(
    steps: list[tuple[bool, list[str]]],
) -> None:
    cache, held = KVCache(6, 1), list[Reservation]()
    for starts, letters in steps:
        if starts:
            wanted = blocks("".join(letters))
            used = {block for reservation in held for block in reservation.blocks}
            if len(used | set(wanted)) > 6:
                with pytest.raises(ApiError):
                    cache.start(wanted)
            else:
                held.append(cache.start(wanted))
                assert cache.cached_tokens(wanted) == len(wanted)
        elif held:
            cache.finish(held.pop(0))
        used = {block for reservation in held for block in reservation.blocks}
        assert cache.usage_ratio == len(used) / 6


def test_only_full_blocks_have_a_hash_and_each_depends_on_those_before() -> None:
    tokens = [f"t{i} " for i in range(40)]
    hashes = block_hashes(tokens, 16, seed="", model="m")
    assert len(set(hashes)) == 2
    assert block_hashes(tokens[:32], 16, seed="", model="m") == hashes
    changed = block_hashes(["x", *tokens[1:]], 16, seed="", model="m")
    assert not set(changed) & set(hashes)


def test_another_seed_or_adapter_has_other_hashes() -> None:
    tokens = ["t"] * 16
    made = {
        block_hashes(tokens, 16, seed=seed, model=model)[0]
        for seed in ("", "1")
        for model in ("m", "lora")
    }
    assert len(made) == 4

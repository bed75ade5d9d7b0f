from __future__ import annotations

from typing import Any

import pytest

from epp.core.data import (
    MEDIA_MATCH,
    TOKENIZED_PROMPT,
    MediaFeature,
    MediaMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.plugins.producers.mm_embeddings_cache import (
    MAX_HASH_CHARACTERS,
    MAX_ITEMS,
    MMEmbeddingsCacheParams,
    MMEmbeddingsCacheProducer,
)
from tests.fakes import FakeProbe, endpoints, make_handle, make_request, make_run

A, B = endpoints(0, 0)


class World:
    """A producer, and what it reported."""

    def __init__(self, **params: Any) -> None:
        self.probe = FakeProbe()
        self.producer = MMEmbeddingsCacheProducer(
            MMEmbeddingsCacheParams(**params), make_handle(probe=self.probe)
        )

    def match(self, request: InferenceRequest) -> MediaMatch | None:
        self.producer.produce(request, [A, B])
        return request.data.get(MEDIA_MATCH.of())

    def matched(self, *hashes: str) -> dict[str, int]:
        match = self.match(showing(*hashes))
        assert match is not None
        return dict(match.matched_size)

    def route(self, request: InferenceRequest, **picked: Endpoint) -> None:
        profiles = {name: make_run(one, picked=[one]) for name, one in picked.items()}
        result = SchedulingResult("decode", {**profiles, "failed": None})
        self.producer.pre_request(request, result)


def showing(*hashes: str) -> InferenceRequest:
    """A request with a medium of as many tokens as its hash has letters, for each."""
    features = tuple(MediaFeature("image", value, 0, len(value)) for value in hashes)
    request = make_request()
    prompt = PromptTokens(bytes(4), features)
    request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt((prompt, PromptTokens(b"", ()))))
    return request


def test_endpoints_match_by_the_tokens_of_what_they_have_encoded() -> None:
    world = World()
    world.route(showing("a", "bb"), decode=A)
    world.route(showing("bb"), decode=B)
    match = world.match(showing("a", "bb", "ccc", "bb"))
    assert match is not None
    assert (match.total_size, match.matched_size) == (6, {A.id: 3, B.id: 2})


@pytest.mark.parametrize("value", ["", "x" * (MAX_HASH_CHARACTERS + 1)])
def test_a_medium_that_cannot_be_remembered_does_not_count(value: str) -> None:
    world = World()
    world.route(showing(value), decode=A)
    assert world.match(showing(value)) is None
    assert world.producer.describe() == {"items": {}}


def test_only_so_many_media_of_a_request_are_looked_at() -> None:
    world = World()
    match = world.match(showing(*[f"{i:04}" for i in range(MAX_ITEMS + 100)]))
    assert match is not None
    assert match.total_size == 4 * MAX_ITEMS
    assert len(world.probe.media) == MAX_ITEMS


def test_what_a_client_calls_its_media_is_no_label() -> None:
    world, request = World(), make_request()
    kinds = ["image", "video", "audio", "x", "y"]
    features = tuple([MediaFeature(kind, kind, i, 1) for i, kind in enumerate(kinds)])
    request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt((PromptTokens(b"", features),)))
    world.match(request)
    assert [modality for modality, _ in world.probe.media] == [*kinds[:3], "other", "other"]


def test_what_was_only_looked_for_is_not_remembered() -> None:
    world = World()
    world.match(showing("a"))
    assert world.matched("a") == {}


def test_the_endpoint_that_encodes_learns_too() -> None:
    world = World()
    world.route(showing("a"), decode=A, encode=B)
    world.route(showing("bb"), decode=A, prefill=B)
    assert world.matched("a", "bb") == {A.id: 3, B.id: 1}


@pytest.mark.parametrize(("size", "kept"), [(4, {"bb", "ccc"}), (1, {"ccc"}), (5, {"bb", "ccc"})])
def test_what_was_used_longest_ago_is_forgotten_first(size: int, kept: set[str]) -> None:
    world = World(cache_size_in_mb_per_server=size)
    for value in ("bb", "a", "bb", "ccc"):
        world.route(showing(value), decode=A)
    assert {value for value in ("a", "bb", "ccc") if world.matched(value)} == kept


@pytest.mark.parametrize(("size", "capacity"), [(0, 2048), (-1, 2048), (4096, 2048), (100, 50)])
def test_an_item_takes_two_mebibytes(size: int, capacity: int) -> None:
    params = MMEmbeddingsCacheParams(cache_size_in_mb_per_server=size)
    assert params.capacity == capacity


def test_a_removed_endpoint_is_forgotten() -> None:
    world = World()
    world.route(showing("a"), decode=A)
    world.producer.endpoint_removed(A.id)
    world.producer.endpoint_removed(B.id)
    assert world.matched("a") == {}


def test_what_was_looked_for_and_found_is_reported() -> None:
    world = World()
    world.route(showing("a"), decode=A)
    world.match(showing("a", "bb"))
    assert world.probe.media == [("image", (A.id,)), ("image", ())]
    assert world.probe.media_matches == [(1, 2), (0, 2)]


@pytest.mark.parametrize("request_", [make_request(None), make_request("text"), showing()])
def test_a_request_without_media_leaves_no_trace(request_: InferenceRequest) -> None:
    world = World()
    assert world.match(request_) is None
    world.route(request_, decode=A)
    assert world.probe.calls == []
    assert world.producer.describe() == {"items": {}}

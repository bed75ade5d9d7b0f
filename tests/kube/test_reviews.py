from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from epp.kube.client import ApiError, UnreachableError
from epp.kube.reviews import MAX_KEPT, MAX_REVIEWS, REVIEW_SECONDS, Reviews
from epp.telemetry.server import Refusal
from tests.fakes import SEED
from tests.kube.api import Body, FakeClient, LoopClock

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
UNAUTHORIZED = Refusal(401, "Unauthorized")
FAILED = Refusal(500, "Authentication failed")
DENIED = Refusal(403, "Authorization denied for user bob")

pytestmark = pytest.mark.looptime


class World:
    """An API server that knows tokens ``alice...`` and ``bob...``; only Alice may do anything."""

    def __init__(self) -> None:
        self.client = FakeClient(self._answer)
        self.failures: dict[str, list[Exception]] = {TOKENS: [], ACCESS: []}
        self.reviews = Reviews(self.client, clock=LoopClock(), random=Random(SEED))

    async def ask(
        self, token: str = "alice", method: str = "GET", path: str = "/metrics"
    ) -> Refusal | None:
        return await self.reviews(method, path, f"Bearer {token}")

    def asked(self, path: str) -> list[Body]:
        """The specs of the reviews so far."""
        return [body["spec"] for _, where, body in self.client.sent if where == path]

    def counts(self) -> tuple[int, int]:
        return len(self.asked(TOKENS)), len(self.asked(ACCESS))

    def _answer(self, method: str, path: str, body: Body) -> Body:
        assert method == "POST"
        if self.failures[path]:
            raise self.failures[path].pop(0)
        if path == TOKENS:
            return {"status": self._owner(body["spec"]["token"])}
        return {"status": {"allowed": body["spec"]["user"] == "alice"}}

    def _owner(self, token: str) -> Body:
        for name in ("alice", "bob"):
            if token.startswith(name):
                user = {
                    "username": name,
                    "uid": "u1",
                    "groups": ["g1", "g2"],
                    "extra": {"example.com/a": ["x"]},
                }
                return {"authenticated": True, "user": user, "audiences": ["api"]}
        return {"authenticated": False, "error": f"[invalid bearer token {token}]"}


def errors(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer  alice", "Basic alice", "Bearer al\u00efce"]
)
async def test_without_a_bearer_token_nobody_is_asked(authorization: str) -> None:
    world = World()
    assert await world.reviews("GET", "/metrics", authorization) == UNAUTHORIZED
    assert world.client.sent == []


@pytest.mark.parametrize("authorization", ["Bearer alice", "bearer alice", " BEARER alice more "])
async def test_the_token_is_reviewed_and_what_its_owner_may(authorization: str) -> None:
    world = World()
    assert await world.reviews("HEAD", "/debug/decisions", authorization) is None
    assert world.client.sent == [
        (
            "POST",
            TOKENS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": "alice"},
            },
        ),
        (
            "POST",
            ACCESS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": "alice",
                    "uid": "u1",
                    "groups": ["g1", "g2"],
                    "extra": {"example.com/a": ["x"]},
                    "nonResourceAttributes": {"path": "/debug/decisions", "verb": "head"},
                },
            },
        ),
    ]


async def test_who_is_unknown_or_may_not_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    world = World()
    assert await world.ask("mallory") == UNAUTHORIZED
    assert await world.ask("bob") == DENIED
    assert [record.getMessage() for record in caplog.records] == [
        "Authentication failed",
        "Authorization denied for user bob",
    ]
    assert "mallory" not in caplog.text
    assert not errors(caplog)


@pytest.mark.parametrize(
    ("token", "moments", "expected"),
    [
        ("alice", (0, 59), (1, 1)),
        ("alice", (0, 61), (2, 1)),
        ("alice", (0, 299), (2, 1)),
        ("alice", (0, 301), (2, 2)),
        ("bob", (0, 29), (1, 1)),
        ("bob", (0, 31), (1, 2)),
        ("mallory", (0, 59), (1, 0)),
        ("mallory", (0, 61), (2, 0)),
    ],
)
async def test_answers_are_kept_for_their_time(
    token: str, moments: Sequence[float], expected: tuple[int, int]
) -> None:
    world = World()
    for moment in moments:
        await asyncio.sleep(moment)
        await world.ask(token)
    assert world.counts() == expected


async def test_a_verdict_is_kept_for_an_owner_a_path_and_a_method() -> None:
    world = World()
    for token in ("alice1", "alice2"):
        for method in ("GET", "POST"):
            for path in ("/metrics", "/debug/decisions"):
                assert await world.ask(token, method, path) is None
    assert world.counts() == (2, 4)


async def test_no_more_is_kept_than_a_number_and_the_oldest_goes_first() -> None:
    world = World()
    for number in range(MAX_KEPT + 1):
        await world.ask(f"alice{number}", path=f"/{number}")
    assert world.counts() == (MAX_KEPT + 1, MAX_KEPT + 1)
    await world.ask(f"alice{MAX_KEPT}", path=f"/{MAX_KEPT}")
    await world.ask("alice1", path="/1")
    assert world.counts() == (MAX_KEPT + 1, MAX_KEPT + 1)
    await world.ask("alice0", path="/0")
    assert world.counts() == (MAX_KEPT + 2, MAX_KEPT + 2)


async def test_who_asks_at_the_same_time_shares_a_review() -> None:
    world = World()
    world.client.delay = 1.0
    assert await asyncio.gather(*(world.ask() for _ in range(50))) == [None] * 50
    assert world.counts() == (1, 1)


async def test_a_failure_is_shared_and_not_kept() -> None:
    world = World()
    world.client.delay = 1.0
    world.failures[TOKENS] = [ApiError(403, "forbidden")]
    assert await asyncio.gather(*(world.ask() for _ in range(50))) == [FAILED] * 50
    assert await world.ask() is None


async def test_who_gives_up_waiting_does_not_take_others_along() -> None:
    world = World()
    world.client.delay = 1.0
    async with asyncio.TaskGroup() as tasks:
        first, second, third = (tasks.create_task(world.ask()) for _ in range(3))
        await asyncio.sleep(0.5)
        first.cancel()
        third.cancel()
    assert second.result() is None
    assert world.counts() == (2, 1)


async def test_a_flood_of_tokens_makes_few_reviews_at_a_time() -> None:
    world = World()
    world.client.delay = 6.0
    flood = [world.ask(f"alice{number}") for number in range(3 * MAX_REVIEWS)]
    answers = await asyncio.gather(*flood)
    assert answers.count(FAILED) == 2 * MAX_REVIEWS
    assert len(world.asked(TOKENS)) == 2 * MAX_REVIEWS


@pytest.mark.parametrize(
    ("path", "refusal", "needs"),
    [
        (TOKENS, FAILED, "create tokenreviews.authentication.k8s.io"),
        (
            ACCESS,
            Refusal(500, "Authorization for user alice failed"),
            "create subjectaccessreviews.authorization.k8s.io",
        ),
    ],
)
async def test_without_the_right_to_review_one_line_says_which_is_missing(
    path: str, refusal: Refusal, needs: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.failures[path] = [ApiError(403, "it is forbidden") for _ in range(20)]
    for _ in range(20):
        assert await world.ask() == refusal
    assert errors(caplog) == [{"error": "it is forbidden", "needs": needs}]
    assert asyncio.get_running_loop().time() == 0
    assert await world.ask() is None


@pytest.mark.parametrize(
    "failure", [ApiError(429, "busy"), ApiError(500, "no"), ApiError(503, "no"), UnreachableError()]
)
@pytest.mark.parametrize("path", [TOKENS, ACCESS])
async def test_what_may_be_better_next_time_is_tried_five_times(
    path: str, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.failures[path] = [failure] * 4
    assert await world.ask() is None
    plain = 0.5 * (1 + 1.5 + 1.5**2 + 1.5**3)
    assert plain <= asyncio.get_running_loop().time() <= 1.2 * plain
    world.failures[path] = [failure] * 5
    assert await world.ask("alice2", path="/other") in (
        FAILED,
        Refusal(500, "Authorization for user alice failed"),
    )
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize("failure", [ApiError(400, "no"), ApiError(404, "no"), ApiError(422, "no")])
async def test_other_refusals_are_not_tried_again(failure: ApiError) -> None:
    world = World()
    world.failures[TOKENS] = [failure]
    assert await world.ask() == FAILED
    assert world.counts() == (1, 0)


async def test_a_review_that_takes_too_long_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.client.delay = 3600.0
    assert await world.ask() == FAILED
    assert asyncio.get_running_loop().time() == REVIEW_SECONDS
    assert errors(caplog) == [{"error": "no answer within 10 s"}]


@pytest.mark.parametrize(
    "answer", ["text", {}, {"status": {"authenticated": "yes"}}, b"{", b'{"status": "\xff"}']
)
async def test_an_answer_that_is_no_review_is_a_failure(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.client.answer = lambda *_: answer
    assert await world.ask() == FAILED
    assert len(errors(caplog)) == 1


async def test_a_failure_is_logged_again_when_it_comes_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    for token in ("alice1", "alice2"):
        world.failures[TOKENS] = [ApiError(403, "forbidden")]
        await world.ask(token)
        await world.ask(token)
    assert len(errors(caplog)) == 2


async def test_tokens_are_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    world = World()
    token = "alice-very-secret"
    assert await world.ask(token) is None
    assert token not in caplog.text
    kept = repr([vars(world.reviews._owners), vars(world.reviews._verdicts)])
    assert "alice" in kept
    assert token not in kept

"""Who may read the metrics: asks the API server whose a token is, and what its owner may do.

The token goes into a TokenReview, its owner with the path and the method of the request into a
SubjectAccessReview. What was answered is kept for a while; those who ask at the same time what
nobody knows yet wait for one review. Tokens are known by their hashes only.

Source: controller-runtime v0.22.4, pkg/metrics/filters; Kubernetes v1.35, apiserver/plugin/pkg,
authenticator and authorizer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from random import Random
from typing import Any, Generic, TypeVar

import msgspec

from epp.core.clock import Clock
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.objects import UNREADABLE, Object
from epp.telemetry import logs
from epp.telemetry.server import Refusal

TOKEN_SECONDS = 60.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
MAX_KEPT = 1000
"""Of owners and of verdicts, each; those that came first go first."""

REVIEW_SECONDS = 10.0
"""Within which a review must be done, repetitions included."""

MAX_REVIEWS = 8
"""At a time, so that a flood of tokens leaves connections for everything else."""

TRIES = 5
FIRST_WAIT_SECONDS = 0.5
WAIT_FACTOR = 1.5
WAIT_JITTER = 0.2
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _FAILED = 401, 403, 429, 500

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S")

logger = logging.getLogger("metrics")


class _User(Object, frozen=True):
    """Whose a token is: what one review answers and the other one asks about."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(Object, frozen=True):
    authenticated: bool = False
    user: _User = _User()


class _AccessStatus(Object, frozen=True):
    allowed: bool = False


class _Review(Object, Generic[S], frozen=True):
    """What is read of either answer."""

    status: S


class _Kind(msgspec.Struct, Generic[S], frozen=True):
    """One of the two reviews."""

    name: str
    group: str
    answer: type[_Review[S]]

    @property
    def plural(self) -> str:
        return f"{self.name.lower()}s"


_TOKEN = _Kind("TokenReview", "authentication.k8s.io", _Review[_TokenStatus])
_ACCESS = _Kind("SubjectAccessReview", "authorization.k8s.io", _Review[_AccessStatus])


class Reviews:
    """Allows what the API server allows; an ``Authorize`` for the metrics server."""

    def __init__(self, client: KubeClient, *, clock: Clock, random: Random) -> None:
        self._client = client
        self._random = random
        self._owners: _Kept[bytes, _User | Refusal] = _Kept(clock)
        self._verdicts: _Kept[tuple[bytes, str, str], Refusal | None] = _Kept(clock)
        self._slots = asyncio.Semaphore(MAX_REVIEWS)
        self._failing: set[str] = set()

    async def __call__(self, method: str, path: str, authorization: str) -> Refusal | None:
        """None for a request that is allowed."""
        token = _bearer_token(authorization)
        if not token:
            return Refusal(_UNAUTHORIZED, "Unauthorized")
        key = sha256(token.encode()).digest()
        owner = await self._owners.get(key, lambda: self._review_token(token))
        if isinstance(owner, Refusal):
            return owner
        verb = method.lower()
        question = (msgspec.json.encode(owner), path, verb)
        return await self._verdicts.get(question, lambda: self._review_access(owner, path, verb))

    async def _review_token(self, token: str) -> tuple[_User | Refusal, float]:
        status = await self._review(_TOKEN, {"token": token})
        if status is None:
            return Refusal(_FAILED, "Authentication failed"), 0.0
        if not status.authenticated:
            logs.log(logger, logs.DEBUG, "Authentication failed")
            return Refusal(_UNAUTHORIZED, "Unauthorized"), TOKEN_SECONDS
        return status.user, TOKEN_SECONDS

    async def _review_access(
        self, user: _User, path: str, verb: str
    ) -> tuple[Refusal | None, float]:
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups or [],
            "extra": user.extra or {},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        status = await self._review(_ACCESS, spec)
        if status is None:
            return Refusal(_FAILED, f"Authorization for user {user.username} failed"), 0.0
        if status.allowed:
            return None, ALLOWED_SECONDS
        denied = f"Authorization denied for user {user.username}"
        logs.log(logger, logs.DEBUG, denied, verb=verb, path=path)
        return Refusal(_FORBIDDEN, denied), DENIED_SECONDS

    async def _review(self, kind: _Kind[S], spec: dict[str, Any]) -> S | None:
        """The status of a review; None where there is none, which is logged."""
        try:
            async with asyncio.timeout(REVIEW_SECONDS), self._slots:
                answer = await self._ask(kind, spec)
            status = msgspec.json.decode(answer, type=kind.answer).status
        except (ApiError, UnreachableError, TimeoutError, *UNREADABLE) as error:
            self._complain(kind, error)
            return None
        self._failing.discard(kind.name)
        return status

    async def _ask(self, kind: _Kind[S], spec: dict[str, Any]) -> bytes:
        """The answer of the API server, at the fifth try if need be."""
        path = f"/apis/{kind.group}/v1/{kind.plural}"
        body = {"apiVersion": f"{kind.group}/v1", "kind": kind.name, "spec": spec}
        seconds = FIRST_WAIT_SECONDS
        for _ in range(TRIES - 1):
            try:
                return await self._client.send("POST", path, body, seconds=REVIEW_SECONDS)
            except UnreachableError:
                pass
            except ApiError as error:
                if error.status != _TOO_MANY and error.status < _FAILED:
                    raise
            await asyncio.sleep(seconds * (1 + WAIT_JITTER * self._random.random()))
            seconds *= WAIT_FACTOR
        return await self._client.send("POST", path, body, seconds=REVIEW_SECONDS)

    def _complain(self, kind: _Kind[S], error: Exception) -> None:
        """Say what is wrong, once until it works again."""
        if kind.name in self._failing:
            return
        self._failing.add(kind.name)
        fields = {"error": str(error) or f"no answer within {REVIEW_SECONDS:g} s"}
        if isinstance(error, ApiError) and error.status == _FORBIDDEN:
            fields["needs"] = f"create {kind.plural}.{kind.group}"
        logs.error(logger, "Refusing requests for metrics: they cannot be reviewed", **fields)


class _Kept(Generic[K, V]):
    """Answers by what was asked, each kept for its time; the same is asked once at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[K, tuple[V, float]] = {}
        self._coming: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """The answer to ``key``, if need be from ``ask``, which also says for how many seconds."""
        while (coming := self._coming.get(key)) is not None:
            await asyncio.wait([coming])
            if not coming.cancelled():
                return coming.result()
        kept = self._answers.get(key)
        if kept is not None and self._clock.now() < kept[1]:
            return kept[0]
        coming = self._coming[key] = asyncio.get_running_loop().create_future()
        try:
            answer, seconds = await ask()
        except BaseException:
            coming.cancel()  # the next one in the row asks
            raise
        finally:
            del self._coming[key]
        coming.set_result(answer)
        if seconds:
            self._keep(key, answer, seconds)
        return answer

    def _keep(self, key: K, answer: V, seconds: float) -> None:
        self._answers.pop(key, None)
        if len(self._answers) >= MAX_KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (answer, self._clock.now() + seconds)


def _bearer_token(authorization: str) -> str:
    """The token of an Authorization header; empty where there is none that could be valid."""
    parts = authorization.strip().split(" ", 2)
    if len(parts) < 2 or parts[0].lower() != "bearer" or not parts[1].isascii():
        return ""
    return parts[1]

"""Leader election: of several pickers with one Lease, the one that holds it.

Whoever finds the Lease free writes its name into it and renews that every few seconds. Others take
it when it was given back, or when nothing was written for as long as the Lease itself says. That
time is measured here, from the moment when the last change was first seen: the clocks of other
machines, with which ``renewTime`` was written, are never compared with ours. Two who write at the
same time are kept apart by ``resourceVersion``.

A leader that cannot renew stops being one before others may take over: it tries for
``renew_seconds``, beginning ``retry_seconds`` after the last time that it could, and both together
must be less than ``lease_seconds``.

Source: client-go v0.35, tools/leaderelection; controller-runtime v0.22.4, pkg/leaderelection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from random import Random
from typing import Any
from uuid import uuid4

import msgspec

from epp.core.clock import Clock
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.objects import UNREADABLE, Object
from epp.telemetry import logs

JITTER = 1.2
"""A candidate waits up to this share of the retry period longer."""

RIGHTS = "get, create, update on leases.coordination.k8s.io"
_RELEASED_SECONDS = 1
_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409

logger = logging.getLogger("setup")


class LeaseLostError(Exception):
    """This process is no longer the leader, and must end at once."""


class Timing(msgspec.Struct, frozen=True):
    """How long a lease is good, how long renewing is tried, how often, and how long one try takes.

    ``renew_seconds + retry_seconds`` is less than ``lease_seconds``.
    """

    lease_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0
    request_seconds: float = 5.0


UPSTREAM = Timing()
"""As the Go pickers."""


class LeaseSpec(Object, frozen=True):
    """What a Lease says; times are RFC 3339 of the holder's clock."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


def lease_name(namespace: str, pool: str) -> str:
    """The name that the 2025 release uses, so that its replicas and ours have one leader."""
    return f"epp-{namespace}-{pool}.gateway-api-inference-extension.sigs.k8s.io"


def make_identity() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}_{uuid4()}"


class Elector:
    """Stands for election under ``identity``; ``is_leader`` tells the present state."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        *,
        identity: str,
        clock: Clock,
        random: Random,
        timing: Timing = UPSTREAM,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._identity = identity
        self._clock = clock
        self._random = random
        self._timing = timing
        self._is_holder = False
        self._renewed = 0.0
        self._seen = LeaseSpec()
        self._seen_at = 0.0
        self._problem = ""

    @property
    def name(self) -> str:
        """The Lease's name."""
        return self._name

    @property
    def is_leader(self) -> bool:
        """Whether the lease is ours, and not so old that somebody else may have taken it."""
        return self._is_holder and self._clock.now() < self._renewed + self._timing.lease_seconds

    async def run(self) -> None:
        """Wait for the lease, then renew it until cancelled.

        Raises:
            LeaseLostError: it could not be renewed, or somebody else has got it.
        """
        retry = self._timing.retry_seconds
        logs.log(logger, 0, "Leader election enabled", lease=self._name, identity=self._identity)
        while not await self._attempt():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(retry * (1 + JITTER * self._random.random()))
        logs.log(logger, 0, "This instance is now the leader!")
        while True:
            await asyncio.sleep(retry)
            await self._renew()

    async def release(self) -> None:
        """Give the lease back, if it is ours, for another one to take at once.

        To be called when ``run`` was cancelled.
        """
        self._is_holder = False
        try:
            async with asyncio.timeout(self._timing.request_seconds):
                lease = await self._read()
                if lease is None or _spec(lease).holder_identity != self._identity:
                    return
                now = self._time_of_day()
                await self._write(
                    lease,
                    holderIdentity="",
                    leaseDurationSeconds=_RELEASED_SECONDS,
                    acquireTime=now,
                    renewTime=now,
                )
        except (ApiError, UnreachableError, TimeoutError, *UNREADABLE) as error:
            self._complain("Could not release the lease", error)
            return
        logs.log(logger, 0, "Released the lease", lease=self._name)

    async def _renew(self) -> None:
        """Renew the lease, at the first try or later ones.

        Differs: another one's name in it ends it at once; the Go picker goes on trying.
        """
        seconds = self._timing.renew_seconds
        try:
            async with asyncio.timeout(seconds):
                while not await self._attempt():
                    if not self._is_holder:
                        holder = self._seen.holder_identity
                        raise LeaseLostError(f"leader election lost: {holder} holds the lease")
                    await asyncio.sleep(self._timing.retry_seconds)
        except TimeoutError:
            self._is_holder = False
            raise LeaseLostError(
                f"leader election lost: the lease could not be renewed within {seconds:g} s"
            ) from None

    async def _attempt(self) -> bool:
        """Take or renew the lease; whether that is done."""
        try:
            is_done = await self._take()
        except UnreachableError:  # the client says so
            return False
        except ApiError as error:
            if error.status != _CONFLICT:
                self._complain("Cannot take part in leader election", error)
            return False
        except UNREADABLE as error:
            self._complain("Cannot take part in leader election", error)
            return False
        self._problem = ""
        return is_done

    async def _take(self) -> bool:
        lease = await self._read()
        # Measured before the lease is written: others see that later, and wait longer.
        now = self._clock.now()
        spec = LeaseSpec() if lease is None else _spec(lease)
        self._observe(spec, now)
        if not self._is_free(now):
            return False
        changes: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.lease_seconds,
            "renewTime": self._time_of_day(),
        }
        if spec.holder_identity != self._identity:
            changes["acquireTime"] = changes["renewTime"]
            changes["leaseTransitions"] = 0 if lease is None else (spec.lease_transitions or 0) + 1
        await self._write(lease, **changes)
        self._is_holder = True
        self._renewed = now
        return True

    def _observe(self, spec: LeaseSpec, now: float) -> None:
        if spec == self._seen:
            return
        holder = spec.holder_identity
        if holder and holder != self._identity:
            self._is_holder = False
            if holder != self._seen.holder_identity:
                logs.log(logger, 0, "Another instance is the leader", leader=holder)
        self._seen, self._seen_at = spec, now

    def _is_free(self, now: float) -> bool:
        """Whether the lease that was seen last is ours, nobody's, or too old."""
        if self._seen.holder_identity in (None, "", self._identity):
            return True
        seconds = self._seen.lease_duration_seconds
        if seconds is None:
            seconds = self._timing.lease_seconds
        return now >= self._seen_at + seconds

    async def _read(self) -> dict[str, Any] | None:
        """The Lease, all of it, as it is written back with what is not ours to change."""
        seconds = self._timing.request_seconds
        try:
            answer = await self._client.send("GET", f"{self._path}/{self._name}", seconds=seconds)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return msgspec.json.decode(answer, type=dict[str, Any])

    async def _write(self, lease: dict[str, Any] | None, **changes: Any) -> None:
        """Write the Lease that was read, or make one."""
        seconds = self._timing.request_seconds
        if lease is None:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": changes,
            }
            await self._client.send("POST", self._path, lease, seconds=seconds)
            return
        lease = {**lease, "spec": {**(lease.get("spec") or {}), **changes}}
        await self._client.send("PUT", f"{self._path}/{self._name}", lease, seconds=seconds)

    def _time_of_day(self) -> str:
        return self._clock.time_of_day().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _complain(self, message: str, error: Exception) -> None:
        """Say what is wrong, once."""
        text = str(error) or type(error).__name__
        if text == self._problem:
            return
        self._problem = text
        fields = {"lease": f"{self._namespace}/{self._name}", "error": text}
        if isinstance(error, ApiError) and error.status == _FORBIDDEN:
            fields["needs"] = RIGHTS
        logs.error(logger, message, **fields)


def _spec(lease: dict[str, Any]) -> LeaseSpec:
    """What a Lease says.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(lease.get("spec") or {}, LeaseSpec)

"""Keeps up with all objects of one kind: list once, then watch.

A watch that ends is resumed where it was, also after a server that was away, busy (429) or not well
(5xx); one that the API server no longer remembers (410) starts with a new list. Waiting grows
from 0.5 s to 30 s while the same trouble is met again, each wait longer or shorter by chance, until
a watch has lasted.
A kind that is optional, which the cluster may not have (404) or we may not read (403), gets one
line and a try every half minute, and works as soon as it appears.

Source: client-go v0.35, tools/cache, for the behaviour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Generic, TypeAlias, TypeVar

import msgspec

from epp.core.clock import Clock
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.objects import (
    UNREADABLE,
    Event,
    Failure,
    ListMetadata,
    Named,
    ObjectList,
    identify,
)
from epp.telemetry import logs

PAGE_ITEMS = 500
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
LONGEST_ABSENCE_SECONDS = 3.0
"""Between two tries to reach an API server that does not answer, or only with an error."""

WATCH_SECONDS = 300
SHORTEST_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 30.0
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _BUSY = 401, 403, 404, 410, 429
_SERVER_ERROR = 500
# Troubles that are no HTTP status.
_UNREADABLE, _AWAY, _SHORT = 0, -1, -2

T = TypeVar("T", bound=Named)

Changed: TypeAlias = Callable[[Mapping[str, T], Collection[str]], None]
"""Gets all objects by their names, and the names of those that came, changed or went."""

logger = logging.getLogger("kubernetes")


class Kind(msgspec.Struct, Generic[T], frozen=True):
    """What to watch: ``path`` on the API server, ``name`` as Go spells it in its logs."""

    name: str
    path: str
    type: type[T]
    field_selector: str = ""
    is_optional: bool = False


class Reflector(Generic[T]):
    """Has all objects of a kind, and tells of every change, while it runs."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind[T],
        changed: Changed[T],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._client = client
        self._kind = kind
        self._changed = changed
        self._clock = clock
        self._random = random
        self._decoder = msgspec.json.Decoder(kind.type)
        self._objects: dict[str, T] = {}
        self._version = ""
        self._problem: int | None = None
        self._broken: dict[str, str] = {}
        self._trouble: int | None = None
        self._wait_seconds = FIRST_WAIT_SECONDS
        self.tried = asyncio.Event()
        """Set once the kind was listed; for an optional one, once the API server answered."""

    async def run(self) -> None:
        """Keep up until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                self._refused(error)
                await self._wait(_AWAY if _is_unwell(error) else error.status)
            except UnreachableError:  # the client says so, once for all kinds
                await self._wait(_AWAY)
            except UNREADABLE as error:
                self._refused(ApiError(_UNREADABLE, f"unreadable answer: {error}"))
                await self._wait(_UNREADABLE)

    async def _list(self) -> None:
        query = {"limit": str(PAGE_ITEMS)} | self._selection()
        objects: dict[str, T] = {}
        page = await self._page(query, objects)
        while page.continue_:
            page = await self._page({**query, "continue": page.continue_}, objects)
        names = self._objects.keys() | objects.keys()
        self._objects = objects
        self._version = page.resource_version
        self._changed(self._objects, names)
        self.tried.set()

    async def _page(self, query: Mapping[str, str], objects: dict[str, T]) -> ListMetadata:
        answer = await self._client.get(self._kind.path, query)
        page = msgspec.json.decode(answer, type=ObjectList)
        for raw in page.items or ():
            name, item = self._read(raw)
            if item is not None:
                objects[name] = item
        return page.metadata

    async def _watch(self) -> None:
        """Follow from the last version until the server ends it or something fails."""
        seconds = round(WATCH_SECONDS * self._random.uniform(1, 2))
        query = {
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        } | self._selection()
        watch = self._client.watch(self._kind.path, query, seconds=seconds + _GRACE_SECONDS)
        async with watch as lines:
            self._recovered()
            started = self._clock.now()
            try:
                async for line in lines:
                    if line:
                        self._take(msgspec.json.decode(line, type=Event))
            finally:
                is_short = self._clock.now() - started < SHORTEST_WATCH_SECONDS
                if not is_short:
                    self._trouble = None
        if is_short:
            await self._wait(_SHORT)

    def _take(self, event: Event) -> None:
        if event.type == "ERROR":
            failure = msgspec.json.decode(event.object, type=Failure)
            self._version = ""
            raise ApiError(failure.code, failure.message)
        about = identify(event.object)
        self._version = about.resource_version or self._version
        if event.type == "DELETED":
            if self._objects.pop(about.name, None) is not None:
                self._changed(self._objects, (about.name,))
        elif event.type in ("ADDED", "MODIFIED"):
            name, item = self._read(event.object)
            if item is not None:
                self._objects[name] = item
                self._changed(self._objects, (name,))

    def _read(self, raw: msgspec.Raw) -> tuple[str, T | None]:
        """An object and its name; in place of one that is broken what is known of it."""
        try:
            item = self._decoder.decode(raw)
        except UNREADABLE as error:
            about = identify(raw)
            if self._broken.get(about.name) != about.resource_version:  # a list may repeat it
                self._broken[about.name] = about.resource_version
                logs.error(
                    logger,
                    "Ignoring an object that cannot be read",
                    kind=self._kind.name,
                    object=f"{about.namespace}/{about.name}",
                    error=str(error),
                )
            return about.name, self._objects.get(about.name)
        return item.name, item

    def _refused(self, error: ApiError) -> None:
        """Say what is wrong, once; start with a new list, unless it is not about the version."""
        if self._kind.is_optional:
            self.tried.set()
        if not _is_unwell(error) and error.status != _UNAUTHORIZED:
            self._version = ""
        if error.status == _GONE:
            return
        if error.status == _NOT_FOUND and self._kind.is_optional:
            self._forget()
        if error.status == self._problem:
            return
        self._problem = error.status
        problem = f"failed to list {self._kind.name}: {error}"
        if self._is_absent(error.status):
            logs.warn(logger, "Going on without a kind of object", error=problem)
        else:
            logs.error(logger, "Failed to watch", type=self._kind.name, error=problem)

    def _is_absent(self, status: int) -> bool:
        return self._kind.is_optional and status in (_FORBIDDEN, _NOT_FOUND)

    def _forget(self) -> None:
        names, self._objects = list(self._objects), {}
        if names:
            self._changed(self._objects, names)

    def _recovered(self) -> None:
        if self._problem is not None:
            self._problem = None
            logs.log(logger, 0, "Watching again", type=self._kind.name)

    async def _wait(self, trouble: int) -> None:
        if trouble != self._trouble:
            self._trouble, self._wait_seconds = trouble, FIRST_WAIT_SECONDS
        longest = LONGEST_ABSENCE_SECONDS if trouble == _AWAY else LONGEST_WAIT_SECONDS
        seconds = longest if self._is_absent(trouble) else min(self._wait_seconds, longest)
        self._wait_seconds = 2 * seconds
        await asyncio.sleep(seconds * self._random.uniform(0.5, 1.5))

    def _selection(self) -> dict[str, str]:
        return {"fieldSelector": self._kind.field_selector} if self._kind.field_selector else {}


def _is_unwell(error: ApiError) -> bool:
    """Whether the API server could not answer now, whatever it was asked."""
    return error.status == _BUSY or error.status >= _SERVER_ERROR

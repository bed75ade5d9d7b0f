"""Extension points, and the decorator that makes a class configurable by its type name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, ClassVar, TypeAlias, TypeVar, overload

import msgspec

from epp.core.clock import Clock
from epp.core.data import CycleData, DataKey
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.probe import Probe, ScrapeInterval
from epp.core.request import Headers, InferenceRequest
from epp.core.response import (
    Metadata,
    ResponseEnd,
    ResponseStart,
)

HeaderChange: TypeAlias = tuple[str, bytes | None]
"""A header's lower-case name and its new value; None removes it."""

PRODUCER_TIME_LIMIT_SECONDS = 0.4


class Stability(StrEnum):
    """How far users may rely on a plugin."""

    ALPHA = "Alpha"
    BETA = "Beta"
    STABLE = "Stable"


class Params(msgspec.Struct, frozen=True, rename="camel"):
    """Base of a plugin's parameters: snake_case here is camelCase in YAML."""

    def hints(self) -> Iterable[tuple[str, str]]:
        """What is allowed but hardly meant: names of parameters, and what to say of them."""
        return ()

    def problems(self) -> Iterable[tuple[str, str]]:
        """What no single parameter's type can tell: their names as in YAML, and the rule."""
        return ()


class PositiveDuration(float):
    """A parameter's type: seconds, more than none; ``200ms`` in YAML."""


class PluginName(str):
    """A parameter's type: the name of another plugin, which is made before this one."""


class NoParams(Params, frozen=True):
    """For plugins that take none."""


class Handle(msgspec.Struct, frozen=True):
    """What a plugin may use of the process: chance, time, a place to report to.

    ``scrape_interval`` tells how old metrics get before newer ones come. ``name`` is what the
    configuration calls the plugin; ``plugins`` are those that were made before it, by their names:
    every one that a parameter of the type ``PluginName`` names is among them.
    """

    random: Random
    clock: Clock
    probe: Probe
    scrape_interval: ScrapeInterval = msgspec.field(default_factory=ScrapeInterval)
    name: str = ""
    plugins: Mapping[str, Plugin] = {}


class Plugin:
    """Anything that a configuration can declare.

    ``type`` is the name in the catalogue; ``name`` is what the configuration calls this instance.
    ``budget_seconds`` is how long a call may take; None means that nobody watches, which is for
    the plugins of this package.
    """

    type: ClassVar[str] = ""
    budget_seconds: float | None = None
    _name: str | None = None

    @property
    def name(self) -> str:
        """The configured name, by default the type."""
        return self._name or self.type

    def bind(self, name: str) -> None:
        """Give the instance its configured name; done once, by the loader."""
        self._name = name

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        """The keys that the plugin cannot do without; who makes them comes first."""
        return ()

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        """The keys that it reads if somebody makes them."""
        return ()

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        """The keys that it sets."""
        return ()

    def describe(self) -> Mapping[str, object]:
        """Its state for people who debug: few values, of the kinds that JSON has."""
        return {}

    def __repr__(self) -> str:
        return f"{self.name}/{self.type}"


class HeaderProcessor(Plugin):
    """Learns from a request's headers, before its body is read."""

    def process_headers(self, headers: Headers, data: CycleData) -> None:
        """Note what the headers tell in ``data``.

        Raises:
            EppError: the request is refused.
        """
        raise NotImplementedError


class Screener(Plugin):
    """Removes endpoints once for all profiles; each sees all of them."""

    def screen(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        """The endpoints that may serve the request, each one of ``endpoints``.

        Raises:
            EppError: the request is refused.
        """
        raise NotImplementedError


class DataProducer(Plugin):
    """Makes data for the plugins that come after it, in ``request.data``.

    ``time_limit_seconds`` is for those that wait.
    """

    time_limit_seconds: float = PRODUCER_TIME_LIMIT_SECONDS

    @property
    def standing(self) -> Mapping[DataKey[Any], object]:
        """What it offers to every request, and outside of requests; asked once."""
        return {}

    def produce(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Awaitable[None] | None:
        """Set the data; whoever has to wait for it returns something to await."""
        raise NotImplementedError


class Admitter(Plugin):
    """May refuse a request once its candidates are known."""

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        """Return if the request may go on.

        Raises:
            EppError: it may not.
        """
        raise NotImplementedError


class Filter(Plugin):
    """Removes endpoints that must not serve the request."""

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        """The endpoints that may serve the request, each one of ``endpoints``."""
        raise NotImplementedError


class Scorer(Plugin):
    """Says how well each endpoint suits the request."""

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        """One number in 0..1 per endpoint, in their order; ``endpoints`` is never empty."""
        raise NotImplementedError


class Picker(Plugin):
    """Chooses among scored endpoints."""

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        """At least one of ``endpoints`` (never empty), best first; ``totals`` are their scores."""
        raise NotImplementedError


class ProfileHandler(Plugin):
    """Decides which profiles run for a request, and which of them counts."""

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        """The names of the profiles to run now; called until it names none that has not run.

        Raises:
            EppError: the request is refused.
        """
        raise NotImplementedError

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        """The final result.

        Raises:
            EppError: when the results do not allow a decision.
        """
        raise NotImplementedError


class SaturationDetector(Plugin):
    """Says how full endpoints are, taken together."""

    def saturation(self, endpoints: Sequence[Endpoint], data: CycleData) -> float:
        """0.0 is idle; at 1.0 and above they are full. Without endpoints it is 1.0.

        ``data`` holds at least what producers offer outside of requests.
        """
        raise NotImplementedError


class DisaggregationDecider(Plugin):
    """Says whether another endpoint shall do a part of a request's work."""

    def decide(self, request: InferenceRequest, endpoint: Endpoint | None) -> bool:
        """Whether it shall; ``endpoint`` is the one that decodes, None if that is not known yet."""
        raise NotImplementedError


class PreRequest(Plugin):
    """Learns of a decision just before the request goes on."""

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange] | None:
        """Take note of where the request goes; what comes back changes the request's headers.

        Raises:
            EppError: the request is refused, once all have been told of it.
        """
        raise NotImplementedError


class ResponseHeaderProcessor(Plugin):
    """Learns of an answer's headers, and may set some.

    ``request`` has no body here and in ``ResponseObserver``, and of its data only what was kept.
    """

    def response_headers(
        self, request: InferenceRequest, result: SchedulingResult, response: ResponseStart
    ) -> Iterable[tuple[str, bytes]]:
        """The headers that the client's answer gets, lower-case names with values."""
        raise NotImplementedError


class ResponseObserver(Plugin):
    """Follows an answer on its way to the client."""

    sees_every_chunk: ClassVar[bool] = False

    def response_chunk(
        self, request: InferenceRequest, result: SchedulingResult, chunk: bytes | bytearray
    ) -> None:
        """A piece of the answer; only the first one unless ``sees_every_chunk``."""

    def response_ended(
        self, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
    ) -> Iterable[Metadata]:
        """The answer is over, well or not; called once for each request that was routed.

        What comes back is dynamic metadata for the proxy; nobody gets it if the client is gone.
        """
        return ()


class EndpointListener(Plugin):
    """Keeps state per endpoint and has to drop it with the endpoint."""

    def endpoint_removed(self, endpoint_id: str) -> None:
        """The endpoint left the pool."""
        raise NotImplementedError


class Discovery(Plugin):
    """Declares where endpoints come from; the work is done by the room that owns the source."""


P = TypeVar("P", bound=Params)
T = TypeVar("T", bound=Plugin)
PlainFactory = TypeVar("PlainFactory", bound=Callable[[], Plugin])


class PluginType(msgspec.Struct, frozen=True):
    """An entry of the catalogue: how to make a plugin from its parameters.

    ``aliases`` are older names of the type. ``deprecated`` says what to use instead, empty where
    there is no reason to. ``origin`` is the file or entry point of a plugin that is not part of
    this package.
    """

    name: str
    params: type[Params]
    stability: Stability
    make: Callable[[Any, Handle], Plugin]
    cls: type[Plugin]
    aliases: tuple[str, ...] = ()
    deprecated: str = ""
    origin: str = ""


REGISTRY: dict[str, PluginType] = {}


@overload
def plugin(  # type: ignore[overload-overlap]  # NoParams is meant to be the narrower case
    type_name: str,
    *,
    params: type[NoParams],
    stability: Stability,
    aliases: Sequence[str] = (),
    deprecated: str = "",
) -> Callable[[PlainFactory], PlainFactory]: ...
@overload
def plugin(
    type_name: str,
    *,
    params: type[P],
    stability: Stability,
    aliases: Sequence[str] = (),
    deprecated: str = "",
) -> Callable[[Callable[[P, Handle], T]], Callable[[P, Handle], T]]: ...
def plugin(
    type_name: str,
    *,
    params: type[Any],
    stability: Stability,
    aliases: Sequence[str] = (),
    deprecated: str = "",
) -> Callable[[Any], Any]:
    """Enter a class into the catalogue under its type name.

    A class with ``NoParams`` is made without arguments, any other with its parameters and the
    handle; the type checker compares the constructor with ``params``.

    Raises:
        ValueError: the type name is taken.
    """

    def register(cls: Any) -> Any:
        if type_name in REGISTRY:
            raise ValueError(f"plugin type {type_name!r} is declared twice")

        def make(values: Any, handle: Handle) -> Plugin:
            made: Plugin = cls() if params is NoParams else cls(values, handle)
            return made

        cls.type = type_name
        REGISTRY[type_name] = PluginType(
            name=type_name,
            params=params,
            stability=stability,
            make=make,
            cls=cls,
            aliases=tuple(aliases),
            deprecated=deprecated,
        )
        return cls

    return register

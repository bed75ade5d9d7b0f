"""Extension points, and the decorator that makes a class configurable by its type name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, ClassVar, TypeVar, overload

import msgspec

from epp.core.clock import Clock
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.probe import Probe, ScrapeInterval
from epp.core.request import Headers, InferenceRequest, RequestBody


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


class PositiveDuration(float):
    """A parameter's type: seconds, more than none; ``200ms`` in YAML."""


class NoParams(Params, frozen=True):
    """For plugins that take none."""


class Handle(msgspec.Struct, frozen=True):
    """What a plugin may use of the process: chance, time, a place to report to.

    ``scrape_interval`` tells how old metrics get before newer ones come.
    """

    random: Random
    clock: Clock
    probe: Probe
    scrape_interval: ScrapeInterval = msgspec.field(default_factory=ScrapeInterval)


class Plugin:
    """Anything that a configuration can declare.

    ``type`` is the name in the catalogue; ``name`` is what the configuration calls this instance.
    """

    type: ClassVar[str] = ""
    _name: str | None = None

    @property
    def name(self) -> str:
        """The configured name, by default the type."""
        return self._name or self.type

    def bind(self, name: str) -> None:
        """Give the instance its configured name; done once, by the loader."""
        self._name = name

    def __repr__(self) -> str:
        return f"{self.name}/{self.type}"


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
        """The names of the profiles to run now; called until it names none."""
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

    def saturation(self, endpoints: Sequence[Endpoint]) -> float:
        """0.0 is idle; at 1.0 and above they are full. Without endpoints it is 1.0."""
        raise NotImplementedError

    def is_saturated(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether requests that may be shed are."""
        return self.saturation(endpoints) >= 1.0


class PreRequest(Plugin):
    """Learns of a decision just before the request goes on."""

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        """Take note of where the request goes."""
        raise NotImplementedError


class EndpointListener(Plugin):
    """Keeps state per endpoint and has to drop it with the endpoint."""

    def endpoint_removed(self, endpoint_id: str) -> None:
        """The endpoint left the pool."""
        raise NotImplementedError


class Parser(Plugin):
    """Reads a request body."""

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        """What the picker has to know of the body.

        Raises:
            BadRequestError: the body is not a request of this kind.
        """
        raise NotImplementedError

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        """``body`` with only the bytes of its model name changed."""
        raise NotImplementedError


class Discovery(Plugin):
    """Declares where endpoints come from; the work is done by the room that owns the source."""


P = TypeVar("P", bound=Params)
T = TypeVar("T", bound=Plugin)
PlainFactory = TypeVar("PlainFactory", bound=Callable[[], Plugin])


class PluginType(msgspec.Struct, frozen=True):
    """An entry of the catalogue: how to make a plugin from its parameters."""

    name: str
    params: type[Params]
    stability: Stability
    make: Callable[[Any, Handle], Plugin]


REGISTRY: dict[str, PluginType] = {}


@overload
def plugin(  # type: ignore[overload-overlap]  # NoParams is meant to be the narrower case
    type_name: str, *, params: type[NoParams], stability: Stability
) -> Callable[[PlainFactory], PlainFactory]: ...
@overload
def plugin(
    type_name: str, *, params: type[P], stability: Stability
) -> Callable[[Callable[[P, Handle], T]], Callable[[P, Handle], T]]: ...
def plugin(type_name: str, *, params: type[Any], stability: Stability) -> Callable[[Any], Any]:
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
            name=type_name, params=params, stability=stability, make=make
        )
        return cls

    return register

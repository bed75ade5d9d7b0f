"""What ``epp new-plugin`` writes: a plugin that works and says what to change, and its test."""

from __future__ import annotations

import msgspec


class Template(msgspec.Struct, frozen=True):
    """What differs from role to role.

    ``does`` completes "``my-scorer``: ..."; ``tells`` is what to know of the role; ``body`` is the
    class's methods, ``test`` the test's last function. ``heading`` is the README's table.
    """

    base: str
    heading: str
    does: str
    tells: str
    imports: str
    body: str
    test: str
    is_in_profile: bool = False


PLUGIN = '''\
"""``{type}``: {does}.

{tells}

What it may look at: epp/core/endpoint.py (endpoints and their metrics) and epp/core/request.py (the
request, whose body may be None). An exception costs the plugin its say, not the request its answer.
Do not wait or read files in a method: the picker does nothing else meanwhile.
"""

from __future__ import annotations

{imports}


class {cls}Params(Params, frozen=True):
    """The parameters: ``threshold`` here and in YAML, ``two_words`` here is ``twoWords`` there."""

    threshold: Annotated[int, Meta(ge=1, description="{threshold}")] = 100


# Under this type a configuration declares it. Alpha is for what may change without a word.
@plugin("{type}", params={cls}Params, stability=Stability.BETA)
class {cls}({base}):
    """{summary}."""

    # handle: chance (handle.random) and time (handle.clock) that tests can replace.
    def __init__(self, params: {cls}Params, handle: Handle) -> None:
        self._threshold = params.threshold

{body}'''

TEST = '''\
"""Run it with ``pytest {test_file}``."""

from __future__ import annotations

from random import Random

{pytest}from epp.core.clock import Clock
{decision}from epp.core.endpoint import Endpoint, EndpointMetrics
{errors}from epp.core.plugin import Handle
from epp.core.probe import Probe
from epp.core.request import InferenceRequest, RequestBody

from {module} import {made}{cls}, {cls}Params


def make(threshold: int = 100) -> {cls}:
    """The plugin as a configuration makes it."""
    handle = Handle(random=Random(42), clock=Clock(), probe=Probe())
    return {cls}({cls}Params(threshold=threshold), handle)


def endpoint(name: str, running: int) -> Endpoint:
    """One endpoint; see EndpointMetrics for what else it may report."""
    metrics = EndpointMetrics(running_requests=running)
    return Endpoint(
        id=f"default/{{name}}",
        name=name,
        namespace="default",
        address="10.0.0.1",
        port=8000,
        metrics=metrics,
    )


def request(prompt: str = "Hello") -> InferenceRequest:
    """A request for a completion."""
    return InferenceRequest("r1", {{}}, RequestBody(model="m", prompt=prompt), "m", "m")


{test}'''

_SELECTS = """\
    def {method}(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return [e for e in endpoints if e.metrics.running_requests < self._threshold]
"""
_SELECTS_TEST = """\
def test_busy_endpoints_are_left_out() -> None:
    idle, busy = endpoint("idle", 0), endpoint("busy", 10)
    assert list(make(threshold=10).{method}(request(), [idle, busy])) == [idle]
"""
_REQUEST = "from epp.core.request import InferenceRequest"
_ENDPOINT = "from epp.core.endpoint import Endpoint"

TEMPLATES: dict[str, Template] = {
    "scorer": Template(
        base="Scorer",
        heading="Scorers",
        does="prefer endpoints with few running requests",
        tells="A scorer gives every endpoint a number from 0 to 1, in their order (what lies "
        "outside is cut off). The profile multiplies it by the weight and adds up; the picker"
        " takes the best.",
        imports=f"{_ENDPOINT}\n{_REQUEST}",
        is_in_profile=True,
        body="""\
    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [max(0.0, 1.0 - e.metrics.running_requests / self._threshold) for e in endpoints]
""",
        test="""\
def test_an_idle_endpoint_scores_best() -> None:
    endpoints = [endpoint("idle", 0), endpoint("half", 5), endpoint("full", 20)]
    assert list(make(threshold=10).score(request(), endpoints)) == [1.0, 0.5, 0.0]
""",
    ),
    "filter": Template(
        base="Filter",
        heading="Filters",
        does="keep endpoints with few running requests",
        tells="A filter returns those of the endpoints that may serve the request, in one profile. "
        "If none is left, the profile has no result.",
        imports=f"{_ENDPOINT}\n{_REQUEST}",
        is_in_profile=True,
        body=_SELECTS.format(method="filter"),
        test=_SELECTS_TEST.format(method="filter"),
    ),
    "picker": Template(
        base="Picker",
        heading="Pickers",
        does="take the best endpoint, or one that is nearly as good",
        tells="A picker gets the endpoints that the filters left and the weighted sum of their "
        "scores, and returns at least one of them, best first; the proxy tries the next if "
        "one fails.",
        imports=_ENDPOINT,
        is_in_profile=True,
        body="""\
    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        enough = max(totals) * min(self._threshold, 100) / 100
        good = [e for e, total in zip(endpoints, totals, strict=True) if total >= enough]
        # All totals may be below 0: weights may be.
        return [self._random.choice(good or endpoints)]
""",
        test="""\
def test_the_highest_total_wins() -> None:
    low, high = endpoint("low", 0), endpoint("high", 0)
    assert list(make().pick([low, high], [0.5, 2.0])) == [high]
""",
    ),
    "screener": Template(
        base="Screener",
        heading="Screeners",
        does="keep endpoints with few running requests, for all profiles",
        tells="A screener returns those of the endpoints that may serve the request at all, before "
        "any profile runs. It is declared and needs no reference.",
        imports=f"{_ENDPOINT}\n{_REQUEST}",
        body=_SELECTS.format(method="screen"),
        test=_SELECTS_TEST.format(method="screen"),
    ),
    "producer": Template(
        base="DataProducer",
        heading="Data producers",
        does="tell which endpoints are busy, for other plugins to read",
        tells="A producer sets data about the request. Who reads it uses the same key, which has to"
        " be the same object: both in this file, or the key in a file _keys.py beside the "
        "two.",
        imports=f"from epp.core.data import DataKey\n{_ENDPOINT}\n{_REQUEST}",
        body='''\
    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return [BUSY]

    # Whoever has to wait returns a coroutine instead of None; it gets 0.4 s.
    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        busy = {e.id for e in endpoints if e.metrics.running_requests >= self._threshold}
        request.data.set(BUSY, frozenset(busy))


BUSY: DataKey[frozenset[str]] = DataKey("{type}-busy")
"""The ids of busy endpoints; ``request.data.get(BUSY)`` is None where nobody made it."""
''',
        test="""\
def test_busy_endpoints_are_told() -> None:
    asked = request()
    make(threshold=10).produce(asked, [endpoint("idle", 0), endpoint("busy", 10)])
    assert asked.data.get(BUSY) == frozenset({"default/busy"})
""",
    ),
    "admitter": Template(
        base="Admitter",
        heading="Admitters",
        does="refuse sheddable requests while every endpoint is busy",
        tells="An admitter returns, or raises an EppError (epp/core/errors.py), which is the "
        "client's answer. It is declared and needs no reference.",
        imports=f"{_ENDPOINT}\nfrom epp.core.errors import ResourceExhaustedError\n{_REQUEST}",
        body="""\
    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        if not request.is_sheddable:
            return
        if all(e.metrics.running_requests >= self._threshold for e in endpoints):
            raise ResourceExhaustedError("every endpoint is busy")
""",
        test="""\
def test_a_sheddable_request_is_refused_when_all_are_busy() -> None:
    sheddable = InferenceRequest("r1", {}, None, priority=-1)
    plugin = make(threshold=10)
    plugin.admit(sheddable, [endpoint("idle", 0), endpoint("busy", 10)])
    plugin.admit(request(), [endpoint("busy", 10)])
    with pytest.raises(ResourceExhaustedError):
        plugin.admit(sheddable, [endpoint("busy", 10)])
""",
    ),
    "pre-request": Template(
        base="PreRequest",
        heading="Hooks",
        does="name the endpoint in a header of long requests",
        tells="A PreRequest learns where a request goes, and may change its headers. A scorer that "
        "has to learn is both: ``class Mine(Scorer, PreRequest)``. It is declared and needs "
        "no reference.",
        imports=f"from epp.core.decision import SchedulingResult\n"
        f"from epp.core.plugin import HeaderChange\n{_REQUEST}",
        body="""\
    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange] | None:
        if request.size_bytes < self._threshold or not result.picked:
            return None
        return [("x-endpoint", result.picked[0].name.encode())]
""",
        test="""\
def test_a_small_request_is_left_alone() -> None:
    assert make().pre_request(request(), SchedulingResult("p", {"p": None})) is None
""",
    ),
}

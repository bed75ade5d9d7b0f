from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from epp.core.data import DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import DataProducer, Handle, Params, Plugin, PluginType
from epp.core.request import InferenceRequest
from tests.config.loading import NEW, OLD, load, own_type, refusals

KEYS: dict[str, DataKey[int]] = {name: DataKey(name) for name in "abc"}
KEYS["alpha"] = DataKey("alpha", default_producer="session-id-producer").of()
KEYS["waiting"] = DataKey("latency", default_producer="predicted-latency-producer").of()
KEYS["custom"] = DataKey("custom", default_producer="token-producer").of("mine")
KEYS["nobody's"] = DataKey("nobody's", default_producer="step").of()


class StepParams(Params, frozen=True):
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


class Step(DataProducer):
    """Needs, may read and makes what its parameters say."""

    def __init__(self, params: StepParams, handle: Handle) -> None:
        self._params = params

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return [KEYS[name] for name in self._params.needs]

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return [KEYS[name] for name in self._params.may]

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return [KEYS[name] for name in self._params.makes]

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        return None


STEP: dict[str, PluginType] = own_type("step", Step, StepParams, Step)


def steps(**parameters: str) -> str:
    return "plugins:\n" + "".join(
        f"- {{type: step, name: '{name}', parameters: {{{given}}}}}\n"
        for name, given in parameters.items()
    )


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (steps(x="makes: [a]", y="needs: [a]"), "xy"),
        (steps(y="needs: [a]", x="makes: [a]"), "xy"),
        (steps(y="may: [a]", x="makes: [a]"), "xy"),
        (steps(z="needs: [a, b]", y="needs: [a], makes: [b]", x="makes: [a]"), "xyz"),
        (steps(x="", y="", z=""), "xyz"),
        (steps(x="needs: [a], makes: [a]"), "x"),
        (steps(x="may: [c]"), "x"),
    ],
)
def test_a_producer_comes_after_those_whose_data_it_reads(text: str, order: str) -> None:
    assert [producer.name for producer in load(text, STEP).producers] == list(order)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            steps(x="needs: [a], makes: [b]", y="needs: [b], makes: [a]"),
            "f:1: plugins: data producers need each other: x -> y -> x",
        ),
        (
            steps(w="needs: [a]", x="may: [a], makes: [b]", y="may: [b], makes: [a]"),
            "f:1: plugins: data producers need each other: y -> x -> y",
        ),
        (
            steps(x="needs: [custom]"),
            "f:2: plugins[0]: x needs custom from mine, which is not declared",
        ),
        (
            steps(mine="", x="needs: [custom]"),
            "f:3: plugins[1]: x needs custom from mine, which makes none",
        ),
        (
            steps(step="", x='needs: ["nobody\'s"]'),
            "f:3: plugins[1]: x needs nobody's, which nobody makes",
        ),
        (
            steps(x="needs: [waiting]"),
            "f:2: plugins[0]: plugin type 'predicted-latency-producer' cannot be used: it needs "
            "predictions of latency, which this version does not make",
        ),
        (
            "plugins:\n- {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: p}}",
            "f:2: plugins[0]: prefix-cache-scorer needs prefix-match from p, which is not declared",
        ),
    ],
)
def test_data_that_nobody_can_make_is_an_error_where_it_is_needed(text: str, problem: str) -> None:
    assert refusals(text, STEP) == [problem]


@pytest.mark.parametrize(
    "producer",
    [
        "{type: step, name: mine, parameters: {makes: 1}}",
        "{type: nope, name: mine}",
        "{type: token-producer, name: mine, parameter: 1}",
    ],
)
def test_a_refused_producer_is_not_missed_besides(producer: str) -> None:
    text = f"{NEW}plugins: [{producer}, {{type: step, name: x, parameters: {{needs: [custom]}}}}]"
    assert len(refusals(text, STEP)) == 1


@pytest.mark.parametrize(
    ("text", "producers"),
    [
        (OLD + "plugins: [{type: queue-scorer}]", []),
        (OLD + "plugins: [{type: prefix-cache-scorer}]", ["prefix-cache-scorer-index"]),
        (
            NEW + "plugins: [{type: active-request-scorer}]",
            ["token-producer", "inflight-load-producer"],
        ),
        (
            NEW + "plugins: [{type: prefix-cache-scorer}]",
            ["token-producer", "approx-prefix-cache-producer"],
        ),
        (
            NEW + "plugins: [{type: approx-prefix-cache-producer, name: other}, "
            "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: other}}]",
            ["token-producer", "other"],
        ),
    ],
)
def test_the_default_producers_of_what_is_needed_are_added(text: str, producers: list[str]) -> None:
    loaded = load(text)
    assert [producer.name for producer in loaded.producers] == producers
    added = [e for e in loaded.entries.values() if e.plugin in loaded.producers and e.origin]
    assert all("needs" in e.origin or "index of" in e.origin for e in added)


def test_any_plugin_may_need_data() -> None:
    class Other(Plugin):
        @property
        def consumes(self) -> Sequence[DataKey[Any]]:
            return [KEYS["custom"]]

    problem = "f:1: plugins[0]: other needs custom from mine, which is not declared"
    own = own_type("other", Other)
    assert refusals("plugins: [{type: other, name: other}]", own) == [problem]


def test_a_long_chain_of_producers_is_put_in_order() -> None:
    keys = [DataKey[int](f"link-{i}") for i in range(3000)]

    class Link(DataProducer):
        @property
        def may_consume(self) -> Sequence[DataKey[Any]]:
            return keys[self._number() + 1 : self._number() + 2]

        @property
        def produces(self) -> Sequence[DataKey[Any]]:
            return [keys[self._number()]]

        def _number(self) -> int:
            return int(self.name[1:])

    names = [f"n{i}" for i in range(len(keys))]
    plugins = "".join(f"- {{type: link, name: {name}}}\n" for name in names)
    loaded = load(f"plugins:\n{plugins}", own_type("link", Link))
    assert [producer.name for producer in loaded.producers] == names[::-1]

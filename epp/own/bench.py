"""``epp bench-plugin``: what a call of a plugin costs, in microseconds."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

import epp.plugins
from epp.config.document import read_document
from epp.config.findings import ConfigError, Findings
from epp.config.parameters import read_parameters as read_parameters_of
from epp.core.clock import Clock
from epp.core.data import CycleData
from epp.core.endpoint import Endpoint
from epp.core.errors import EppError
from epp.core.plugin import (
    REGISTRY,
    DataProducer,
    Filter,
    Handle,
    Picker,
    Plugin,
    PluginType,
    PreRequest,
    Scorer,
)
from epp.core.probe import Probe
from epp.core.response import ResponseEnd, ResponseStart
from epp.own import worlds
from epp.own.loading import OwnPluginError, load_file
from epp.own.roles import overridden, roles_of

SIZES = (10, 100, 1000)
ROUNDS = 7
ROUND_SECONDS = 0.005
MAX_CALLS = 500
TAUGHT = 100
USAGE_STATUS = 2


class BenchError(Exception):
    """A plugin cannot be measured; the text says why."""


class Row(msgspec.Struct, frozen=True):
    """The cost of one method by the number of endpoints, or why there is none."""

    type: str
    method: str
    microseconds: Sequence[float] = ()
    reason: str = ""


def main(arguments: Sequence[str]) -> int:
    """Measure and print a table; 1 if something could not be measured, 2 for misuse."""
    parser = argparse.ArgumentParser(
        prog="epp bench-plugin",
        description="Microseconds per call, the median of several rounds, with made-up endpoints.",
    )
    parser.add_argument("plugin", nargs="?", help="a file, or the type of a built-in plugin")
    parser.add_argument("--parameters", default="", help="parameters as in YAML, written as JSON")
    parser.add_argument("--all", action="store_true", help="every built-in scorer, filter, picker")
    given = parser.parse_args(arguments)
    if bool(given.plugin) == given.all:
        parser.print_usage(sys.stderr)
        return USAGE_STATUS
    epp.plugins.load()
    try:
        types = _all_types() if given.all else _types_of(given.plugin)
        rows = [row for declared in types for row in measure(declared, given.parameters)]
    except BenchError as error:
        sys.stderr.write(f"epp bench-plugin: {error}\n")
        return 1
    if given.all:
        # The roles that every request meets; of others a plugin may fill, its own table tells.
        rows = [row for row in rows if row.method in ("score", "filter", "pick", "")]
    sys.stdout.write(table(rows))
    return 1 if not given.all and any(row.reason for row in rows) else 0


def measure(
    declared: PluginType,
    parameters: str = "",
    *,
    sizes: Sequence[int] = SIZES,
    rounds: int = ROUNDS,
) -> Iterator[Row]:
    """A row for each method that the type has and a made-up world can call.

    Raises:
        BenchError: the parameters do not fit.
    """
    clock = Clock()
    handle = Handle(random=Random(worlds.SEED), clock=clock, probe=Probe(), name=declared.name)
    params = read_parameters(declared, parameters)
    if isinstance(params, str):
        yield Row(declared.name, "", reason=params)
        return
    methods = [name for role in roles_of(declared.cls) for name in overridden(declared.cls, role)]
    for method in methods:
        costs: list[float] = []
        for size in sizes:
            try:
                # Made anew, so that what it learnt from one pool does not count for another.
                made = declared.make(params, handle)
                made.bind(declared.name)
                prepared = _prepare(made, method, worlds.endpoints(size, clock.now()))
                if prepared is None:
                    break
                costs.append(_microseconds(prepared, rounds))
            except Exception as error:
                yield Row(declared.name, method, reason=f"{type(error).__name__}: {error}")
                break
        if len(costs) == len(sizes):
            yield Row(declared.name, method, costs)


def read_parameters(declared: PluginType, text: str) -> Any:
    """The parameters that ``text`` gives; without any, in words, what is required.

    Raises:
        BenchError: they do not fit.
    """
    fields = msgspec.structs.fields(declared.params)
    required = [field.encode_name for field in fields if field.required]
    if not text and required:
        return f"needs --parameters: {', '.join(required)}"
    try:
        document = read_document(text or "{}", "--parameters")
        findings = Findings(document.places)
        params = read_parameters_of(document.value, declared, "$", findings, is_strict=True)
        findings.stop_if_wrong()
    except ConfigError as error:
        raise BenchError(str(error)) from None
    return params


def table(rows: Sequence[Row]) -> str:
    """The rows as people read them."""
    names = [f"{row.type} {row.method}".strip() for row in rows]
    width = max(map(len, ["us per call", *names]))
    heads = "".join(f"{size:>10,}" for size in SIZES)
    lines = [f"{'us per call':<{width}}{heads}  endpoints"]
    for name, row in zip(names, rows, strict=True):
        numbers = "".join(f"{number:>10.1f}" for number in row.microseconds)
        lines.append(f"{name:<{width}}{numbers or f'  {row.reason}'}")
    return "\n".join(lines) + "\n"


def _all_types() -> list[PluginType]:
    """Every built-in scorer, filter and picker, role by role."""
    return [
        declared
        for role in (Scorer, Filter, Picker)
        for _, declared in sorted(REGISTRY.items())
        if issubclass(declared.cls, role)
        and next(r for r in (Scorer, Filter, Picker) if issubclass(declared.cls, r)) is role
    ]


def _types_of(name: str) -> list[PluginType]:
    for declared in REGISTRY.values():
        if name in (declared.name, *declared.aliases):
            return [declared]
    path = Path(name)
    if not path.is_file():
        raise BenchError(f"{name} is no file and no type of a built-in plugin")
    try:
        return load_file(path, REGISTRY)
    except OwnPluginError as error:
        raise BenchError("\n  ".join(["", *error.problems])) from None


def _prepare(
    plugin: Plugin, method: str, pool: list[Endpoint]
) -> tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]] | None:
    """The method, and the arguments of its n-th call; None where nothing can be made up."""
    world = worlds.World(pool, (*plugin.consumes, *plugin.may_consume))
    asked = world.request
    _teach(plugin, world)
    result = worlds.result(pool, pool[0])
    sums = worlds.totals(pool)

    arguments: Mapping[str, Callable[[int], tuple[Any, ...]]] = {
        **dict.fromkeys(
            ("screen", "produce", "admit", "filter", "score"), lambda n: (asked(n), pool)
        ),
        "pick": lambda _n: (pool, sums),
        "saturation": lambda n: (pool, asked(n).data),
        "decide": lambda n: (asked(n), pool[0]),
        "process_headers": lambda n: (asked(n).headers, CycleData()),
        "pre_request": lambda n: (asked(n), result),
        "response_headers": lambda n: (asked(n), result, ResponseStart({}, pool[0].destination)),
        "response_chunk": lambda n: (asked(n), result, b'data: {"choices":[]}\n\n'),
        "response_ended": lambda n: (asked(n), result, ResponseEnd(chunks=100)),
    }
    if method not in arguments:
        return None
    return getattr(plugin, method), arguments[method]


def _teach(plugin: Plugin, world: worlds.World) -> None:
    """Let a plugin that learns where requests go see a few of them, as in a running picker."""
    if not isinstance(plugin, PreRequest):
        return
    for number, endpoint in enumerate(world.pool[:TAUGHT]):
        request = world.request(-number)
        if isinstance(plugin, DataProducer):
            waiting = plugin.produce(request, world.pool)
            if isinstance(waiting, Coroutine):
                waiting.close()
        if isinstance(plugin, Scorer):
            plugin.score(request, world.pool)
        plugin.pre_request(request, worlds.result(world.pool, endpoint))


def _microseconds(
    prepared: tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]], rounds: int
) -> float:
    """The median cost of a call; each is made with a request that the plugin has not seen."""
    method, arguments = prepared
    calls, number = 1, 0
    costs: list[float] = []
    while len(costs) < rounds:
        ready = [arguments(number + i) for i in range(calls)]
        number += calls
        seconds = _timed(method, ready)
        if seconds < ROUND_SECONDS and calls < MAX_CALLS:
            # The first rounds only find out how many calls make one; they warm up as well.
            calls = min(MAX_CALLS, max(calls + 1, int(calls * ROUND_SECONDS / max(seconds, 1e-6))))
            continue
        costs.append(seconds / calls * 1e6)
    return median(costs)


def _timed(method: Callable[..., Any], ready: Sequence[tuple[Any, ...]]) -> float:
    # What waits to be collected is not the plugin's.
    had_collector = gc.isenabled()
    gc.disable()
    try:
        started = perf_counter()
        for given in ready:
            _call(method, given)
        return perf_counter() - started
    finally:
        if had_collector:
            gc.enable()


def _call(method: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        made = method(*given)
    except EppError:
        return  # a refusal is an answer
    if made is None or isinstance(made, (list, tuple, float, bool)):
        return
    if isinstance(made, Coroutine):
        made.close()
    elif not isinstance(made, Awaitable) and hasattr(made, "__next__"):
        tuple(made)

"""The metrics page: Prometheus text format 0.0.4, spelled as Go's client spells it.

Prometheus 2 takes ``le="64.0"`` and ``le="64"`` for two series; dashboards made for the upstream
picker know the latter. Series of creation times and families without series are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import islice

from prometheus_client import CollectorRegistry, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LINES_PER_PIECE = 500
_WITH_CREATION_TIME = frozenset({"counter", "histogram", "summary"})
_TYPES = frozenset({"counter", "gauge", "histogram", "summary"})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class WrittenMetric(Metric):
    """A family whose collector writes the lines of its samples itself, in pieces; it has no others.

    It is written when the page gets there, and other work may come between two pieces.
    """

    def __init__(self, name: str, documentation: str, typ: str, pieces: Iterable[str]) -> None:
        super().__init__(name, documentation, typ)
        self.pieces = pieces


def render(registry: CollectorRegistry) -> str:
    """The whole page."""
    return "".join(chunks(registry))


def chunks(registry: CollectorRegistry) -> Iterator[str]:
    """The page in pieces of at most some hundred lines, families in the order of their names.

    The first pieces are empty, one for each family that was collected: time for other work.
    """
    metrics = []
    for metric in registry.collect():
        metrics.append(metric)
        yield ""
    for metric in sorted(metrics, key=lambda metric: metric.name):
        head = _head(metric)
        for piece in (
            metric.pieces if isinstance(metric, WrittenMetric) else in_pieces(_lines(metric))
        ):
            if head:
                yield head
                head = ""
            yield piece


def go_float(value: float) -> str:
    """The shortest spelling of a number, with Go's rule for the exponent."""
    if value == 0:  # apart, for a cache takes 0 and -0 for the same
        return "0" if math.copysign(1, value) > 0 else "-0"
    return _spelled(value)


@lru_cache(maxsize=1024)
def _spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if 1e-4 <= abs(value) < 1e6:
        return repr(float(value)).removesuffix(".0")
    _, figures, shift = Decimal(repr(float(value))).normalize().as_tuple()
    first, *rest = (str(figure) for figure in figures)
    exponent = int(shift) + len(rest)
    sign = "-" if value < 0 else ""
    fraction = f".{''.join(rest)}" if rest else ""
    return f"{sign}{first}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def spell_labels(labels: Mapping[str, str]) -> str:
    """The labels in the order of their names, without braces."""
    return ",".join([f'{name}="{labels[name].translate(_IN_LABEL)}"' for name in sorted(labels)])


def spell_count(value: int) -> str:
    """A number of things, from a million on as Go spells it."""
    return str(value) if value < 10**6 else go_float(value)


def spell_number(value: float) -> str:
    """A number as Go spells it; quick where it counts things."""
    return spell_count(value) if type(value) is int and value >= 0 else go_float(value)


def in_pieces(lines: Iterable[str]) -> Iterator[str]:
    """Lines, some hundred at a time."""
    remaining = iter(lines)
    while piece := "".join(islice(remaining, LINES_PER_PIECE)):
        yield piece


def _lines(metric: Metric) -> Iterator[str]:
    created = f"{metric.name}_created" if metric.type in _WITH_CREATION_TIME else ""
    for sample in metric.samples:
        if sample.name != created:
            yield f"{sample.name}{_labels(sample.labels)} {spell_number(sample.value)}\n"


def _head(metric: Metric) -> str:
    """The HELP and TYPE lines; those of a counter carry the name of its samples."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    kind = metric.type if metric.type in _TYPES else "untyped"
    return f"# HELP {name} {metric.documentation.translate(_IN_HELP)}\n# TYPE {name} {kind}\n"


def _labels(labels: Mapping[str, str]) -> str:
    """The labels in the order of their names, a bucket's bound last."""
    if "le" not in labels:
        return f"{{{spell_labels(labels)}}}" if labels else ""
    others = spell_labels({name: value for name, value in labels.items() if name != "le"})
    bound = f'le="{go_float(float(labels["le"]))}"'
    return f"{{{others},{bound}}}" if others else f"{{{bound}}}"

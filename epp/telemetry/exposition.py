"""The metrics page: Prometheus text format 0.0.4, spelled as Go's client spells it.

Prometheus 2 takes ``le="64.0"`` and ``le="64"`` for two series; dashboards made for the upstream
picker know the latter. Series of creation times and families without series are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LINES_PER_CHUNK = 500
_WITH_CREATION_TIME = frozenset({"counter", "histogram", "summary"})
_TYPES = frozenset({"counter", "gauge", "histogram", "summary"})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


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
        created = f"{metric.name}_created" if metric.type in _WITH_CREATION_TIME else ""
        samples = [sample for sample in metric.samples if sample.name != created]
        if not samples:
            continue
        lines = _head(metric)
        for sample in samples:
            lines.append(_line(sample))
            if len(lines) >= _LINES_PER_CHUNK:
                yield "".join(lines)
                lines = []
        yield "".join(lines)


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


def _head(metric: Metric) -> list[str]:
    """The HELP and TYPE lines; those of a counter carry the name of its samples."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    kind = metric.type if metric.type in _TYPES else "untyped"
    return [
        f"# HELP {name} {metric.documentation.translate(_IN_HELP)}\n",
        f"# TYPE {name} {kind}\n",
    ]


def _line(sample: Sample) -> str:
    value = sample.value
    spelled = str(value) if type(value) is int and 0 <= value < 10**6 else go_float(value)
    return f"{sample.name}{_labels(sample.labels)} {spelled}\n"


def _labels(labels: Mapping[str, str]) -> str:
    """The labels in the order of their names, a bucket's bound last."""
    if not labels:
        return ""
    pairs = [
        f'{name}="{labels[name].translate(_IN_LABEL)}"' for name in sorted(labels) if name != "le"
    ]
    bound = labels.get("le")
    if bound is not None:
        pairs.append(f'le="{go_float(float(bound))}"')
    return f"{{{','.join(pairs)}}}"

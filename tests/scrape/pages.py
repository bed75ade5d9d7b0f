"""Pages of Prometheus text for tests: made at random, and read by a plain parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import isfinite
from typing import NamedTuple

from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from epp.core.metricspec import MetricSpec

_COMMENTS = {"HELP": "What it tells.", "TYPE": "gauge"}


class Line(NamedTuple):
    """A sample but for its number."""

    labels: Mapping[str, str]
    timestamp: int | None
    remark: str


class Family(NamedTuple):
    """A metric of a page; the lines of every page are numbered anew."""

    name: str
    comments: Sequence[str]
    lines: Sequence[Line]


class Step(NamedTuple):
    """How the next page differs from the one before."""

    padding: int
    missing: frozenset[int]
    most_lines: int
    is_turned: bool
    is_cut: bool
    numbers: Sequence[str]


class PlainSample(NamedTuple):
    """A sample as the plain parser reads it."""

    value: float
    labels: Mapping[str, str] = {}
    timestamp: float = 0.0


label_texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")) | st.just("\n"), max_size=12
) | st.sampled_from(["", "16", "7", "a, b", "x", '"', "\\", "} 1"])
numbers = st.sampled_from(
    ["0", "1", "7.0", "12.5", "1e3", "-2", "NaN", "+Inf", "0.25312499999999993", "1.76e+09"]
) | st.floats(allow_nan=False, allow_infinity=False).map(repr)


def families(names: Sequence[str], labels: Sequence[str]) -> st.SearchStrategy[list[Family]]:
    """The metrics of a page, each of its own name out of ``names``."""
    lines = st.builds(
        Line,
        st.dictionaries(st.sampled_from(labels), label_texts, max_size=4),
        st.none() | st.integers(0, 3),
        st.sampled_from(["", "", "", "", "\n", "# a remark\n", "# \n"]),
    )
    comments = st.sampled_from([("HELP", "TYPE"), ("TYPE",), ("HELP",), ("TYPE", "HELP"), ()])
    family = st.builds(Family, st.sampled_from(names), comments, st.lists(lines, max_size=4))
    return st.lists(family, min_size=1, max_size=8, unique_by=lambda family: family.name)


steps = st.builds(
    Step,
    st.sampled_from([0, 0, 0, 1, 3, 100, 700]),
    st.just(frozenset()) | st.frozensets(st.integers(0, 7), max_size=3),
    st.sampled_from([1, 2, 4, 4]),
    st.booleans(),
    st.booleans(),
    st.lists(numbers, min_size=1, max_size=5),
)


def render(families: Sequence[Family], step: Step) -> str:
    """A page as a server might write it."""
    numbers = cycle(step.numbers)
    parts = [f"# {'x' * step.padding}\n"] if step.padding else []
    kept = [family for i, family in enumerate(families) if i not in step.missing]
    for family in reversed(kept) if step.is_turned else kept:
        parts += [f"# {kind} {family.name} {_COMMENTS[kind]}\n" for kind in family.comments]
        for labels, timestamp, remark in family.lines[: step.most_lines]:
            pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
            braces = f"{{{pairs}}}" if pairs else ""
            time = "" if timestamp is None else f" {timestamp}"
            parts.append(f"{family.name}{braces} {next(numbers)}{time}\n{remark}")
    page = "".join(parts)
    return page.removesuffix("\n") if step.is_cut else page


def parse(page: str, spec: MetricSpec) -> list[PlainSample]:
    """The usable samples that a spec selects, by parsing the whole of the page."""
    return [
        PlainSample(
            float(sample.value),
            sample.labels,
            round(float(sample.timestamp) * 1000) if sample.timestamp is not None else 0.0,
        )
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == spec.name
        and isfinite(sample.value)
        and all(sample.labels.get(label) == value for label, value in spec.labels)
    ]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

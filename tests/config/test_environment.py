from __future__ import annotations

import pytest

from epp.config.environment import override_thresholds, without_effect
from epp.saturation import Thresholds

FILE = Thresholds(queue_depth=7, kv_cache_ratio=0.5, staleness_seconds=1.0)
QUEUE, KV_CACHE, STALENESS = (
    "SD_QUEUE_DEPTH_THRESHOLD",
    "SD_KV_CACHE_UTIL_THRESHOLD",
    "SD_METRICS_STALENESS_THRESHOLD",
)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        (QUEUE, "9", Thresholds(9, 0.5, 1.0)),
        (QUEUE, "+9", Thresholds(9, 0.5, 1.0)),
        (KV_CACHE, "0.9", Thresholds(7, 0.9, 1.0)),
        (KV_CACHE, "9e-1", Thresholds(7, 0.9, 1.0)),
        (STALENESS, "1m0.5s", Thresholds(7, 0.5, 60.5)),
    ],
)
def test_a_variable_overrides_the_file(variable: str, text: str, expected: Thresholds) -> None:
    thresholds, lines = override_thresholds(FILE, {variable: text, "PATH": "/bin"})
    assert thresholds == expected
    (line,) = lines
    assert line.startswith(f"{variable} is deprecated, use saturationDetector.")
    assert line.endswith(f"Threshold: overridden with {text}")


@pytest.mark.parametrize(
    ("variable", "texts", "expected", "rule"),
    [
        (
            QUEUE,
            ["", "0", "-3", "2.5", "many", "1_0", "0x5", "9" * 5000],
            Thresholds(5, 0.5, 1.0),
            "is not a whole number above 0: the default of 5 is used",
        ),
        (
            KV_CACHE,
            ["", "0", "1", "-0.1", "1.5", "nan", "inf", "full"],
            Thresholds(7, 0.8, 1.0),
            "is not a number between 0 and 1: the default of 0.8 is used",
        ),
        (
            STALENESS,
            ["", "0", "0s", "-5s", "200", "soon"],
            Thresholds(7, 0.5, None),
            "is not a duration above 0: the default of 200ms is used",
        ),
    ],
)
def test_a_variable_that_is_no_threshold_means_the_default(
    variable: str, texts: list[str], expected: Thresholds, rule: str
) -> None:
    for text in texts:
        thresholds, lines = override_thresholds(FILE, {variable: text})
        assert thresholds == expected
        assert lines == [f"{variable} is deprecated, and {text!r} {rule}"]


def test_each_variable_that_is_present_has_its_line() -> None:
    thresholds, lines = override_thresholds(FILE, {STALENESS: "1s", KV_CACHE: "x", QUEUE: "9"})
    assert thresholds == Thresholds(9, 0.8, 1.0)
    assert [line.split(" ")[0] for line in lines] == [QUEUE, KV_CACHE, STALENESS]
    assert override_thresholds(FILE, {}) == (FILE, [])


def test_a_variable_without_effect_is_told() -> None:
    gate = "ENABLE_EXPERIMENTAL_FLOW_CONTROL_LAYER"
    assert without_effect({}, has_thresholds=True) == []
    assert without_effect({gate: "false", QUEUE: "9"}, has_thresholds=True) == [
        f"{gate} has no effect"
    ]
    assert without_effect({gate: "1", QUEUE: "9"}, has_thresholds=False) == [
        f"{QUEUE} has no effect",
        f"{gate} has no effect",
    ]

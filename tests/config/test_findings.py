from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta

from epp.config.document import read_document
from epp.config.findings import ConfigError, Findings, Places
from epp.core.plugin import Params, PositiveDuration
from tests.config.loading import refusals
from tests.config.told import errors


class SomeParams(Params, frozen=True):
    path: str
    how_many: Annotated[int, Meta(gt=0)] = 3
    pause: PositiveDuration | None = None


TEXT = "a: 1\np:\n  path: x\n  howMany: 0\n"


def findings() -> Findings:
    return Findings(read_document(TEXT, "c.yaml").places)


def problems(found: Findings) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        found.stop_if_wrong()
    return errors(raised.value.findings)


def test_without_problems_reading_goes_on() -> None:
    found = findings()
    found.warn("$.a", "odd-value", "odd")
    found.note("$.p", "odd-value", "look")
    found.stop_if_wrong()
    assert [str(finding) for finding in found.all] == [
        "c.yaml:1:1: warning: a: odd [odd-value]",
        "c.yaml:2:1: note: p: look [odd-value]",
    ]


def test_every_field_that_does_not_fit_is_a_problem_with_its_place() -> None:
    found = findings()
    values = {"howMany": 0, "pause": "soon"}
    assert found.convert(values, SomeParams, "$.p") is None
    assert problems(found) == [
        "c.yaml:2: p.pause: expected a duration above 0 such as 200ms",
        "c.yaml:2: p: `path` is required",
        "c.yaml:4: p.howMany: Expected `int` >= 1",
    ]


def test_earlier_problems_do_not_count_against_later_values() -> None:
    found = findings()
    found.error("$.a", "wrong-value", "no")
    values = {"path": "x", "pause": "1.5s"}
    params = found.convert(values, SomeParams, "$.p")
    assert params == SomeParams(path="x", pause=PositiveDuration(1.5))
    assert problems(found) == ["c.yaml:1: a: no"]


@pytest.mark.parametrize("value", ["0", "0s", "-1s", "200", "soon", "", 5, 0.2, True, ["1s"]])
def test_a_duration_is_a_text_of_more_than_nothing(value: object) -> None:
    found = findings()
    assert found.convert(value, PositiveDuration, "$.a") is None
    assert problems(found) == ["c.yaml:1: a: expected a duration above 0 such as 200ms"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("$.p.LIMIT", (2, 3)),
        ("$.p.limit", (2, 3)),
        ("$.p.limit.x[3].y", None),
        ("$.q", None),
    ],
)
def test_what_is_there_has_a_place_however_it_is_spelt(
    path: str, place: tuple[int, int] | None
) -> None:
    assert Places("f", {"$": (1, 1), "$.p": (1, 1), "$.p.LIMIT": (2, 3)}).of(path) == place


def test_a_wrong_value_stands_where_its_key_does_in_any_case() -> None:
    text = "plugins:\n- type: random-picker\n  parameters:\n    x: 1\n    MAXNUMOFENDPOINTS: y\n"
    (found,) = refusals(text)
    assert found.startswith("f:5: plugins[0].parameters.maxNumOfEndpoints: ")

from __future__ import annotations

import pytest

from epp.core.plugin import REGISTRY
from epp.plugins.filters.by_label import ByLabel, ByLabelParams
from tests.fakes import make_endpoint, make_handle, make_request

ENDPOINTS = [
    make_endpoint("none"),
    make_endpoint("empty", labels={"tier": ""}),
    make_endpoint("gold", labels={"tier": "gold"}),
    make_endpoint("tin", labels={"tier": "tin"}),
]


@pytest.mark.parametrize(
    ("values", "allows_no_label", "kept"),
    [
        (("gold",), False, ["gold"]),
        (("gold", "tin"), False, ["gold", "tin"]),
        (("gold",), True, ["none", "gold"]),
        ((), True, ["none"]),
        (("",), False, ["empty"]),
        (("lead",), False, []),
    ],
)
def test_the_label_must_have_a_listed_value(
    values: tuple[str, ...], allows_no_label: bool, kept: list[str]
) -> None:
    params = ByLabelParams("tier", values, allows_no_label)
    assert list(params.problems()) == []
    filtered = ByLabel(params, make_handle()).filter(make_request(), ENDPOINTS)
    assert [e.name for e in filtered] == kept


def test_a_label_that_nothing_fits_is_refused() -> None:
    assert [key for key, _ in ByLabelParams("tier").problems()] == ["validValues"]


def test_the_type_says_what_to_use_instead() -> None:
    assert REGISTRY["by-label"].deprecated == "use label-selector-filter"

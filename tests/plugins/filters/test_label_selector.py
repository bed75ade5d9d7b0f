from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.core.plugin import REGISTRY
from epp.plugins.filters.label_selector import LabelSelectorFilter, LabelSelectorFilterParams
from tests.fakes import make_endpoint, make_handle, make_request

ENDPOINTS = [
    make_endpoint("none"),
    make_endpoint("a", labels={"gpu": "a100", "zone": "x"}),
    make_endpoint("h", labels={"gpu": "h100", "zone": "x"}),
    make_endpoint("far", labels={"gpu": "h100", "zone": "y"}),
]
FAST = {"key": "gpu", "operator": "In", "values": ["h100", "b200"]}


def params(**fields: Any) -> LabelSelectorFilterParams:
    return msgspec.convert(fields, LabelSelectorFilterParams)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, ["none", "a", "h", "far"]),
        ({"matchLabels": {"zone": "x"}}, ["a", "h"]),
        ({"matchExpressions": [FAST]}, ["h", "far"]),
        ({"matchLabels": {"zone": "x"}, "matchExpressions": [FAST]}, ["h"]),
        ({"matchExpressions": [{**FAST, "operator": "NotIn"}]}, ["none", "a"]),
        ({"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}, ["none"]),
        ({"matchLabels": {"zone": "z"}}, []),
    ],
)
def test_labels_and_expressions_must_all_match(fields: dict[str, Any], kept: list[str]) -> None:
    chosen = params(**fields)
    assert list(chosen.problems()) == []
    plugin = LabelSelectorFilter(chosen, make_handle())
    assert [e.name for e in plugin.filter(make_request(), ENDPOINTS)] == kept


def test_what_is_no_selector_is_told_by_its_place() -> None:
    wrong = params(matchExpressions=[FAST, {"key": "gpu", "operator": "In"}])
    assert [place for place, _ in wrong.problems()] == ["matchExpressions[1].values"]


def test_the_older_name_still_means_it() -> None:
    assert "by-label-selector" in REGISTRY["label-selector-filter"].aliases

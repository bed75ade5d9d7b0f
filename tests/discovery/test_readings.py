from __future__ import annotations

import re
from typing import Any

import pytest

from epp.core.selector import Selector
from epp.datastore.rewrites import Rewrite, RewriteTarget
from epp.discovery.readings import Membership, active_ports, read_membership, read_rewrite
from epp.kube.objects import RewriteRule
from tests.discovery.objects import make_pool, make_rewrite, rule

APP = {"matchLabels": {"app": "x"}}
NEWER, OLDER = "llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"


def test_both_versions_of_a_pool_mean_pods_and_ports() -> None:
    expected = Membership(selector=Selector.of({"app": "x", "env": "y"}), ports=(8000, 8001))
    labels = {"env": "y", "app": "x"}
    assert read_membership(make_pool(8000, 8001, labels=labels), is_stable=True) == expected
    older = make_pool(selector={"app": "x"}, targetPortNumber=1)
    assert read_membership(older, is_stable=False) == Membership(
        selector=Selector.of({"app": "x"}), ports=(1,)
    )


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"selector": APP}, "spec.targetPorts: must name at least one port"),
        ({"selector": APP, "targetPorts": []}, "spec.targetPorts: must name at least one port"),
        ({"selector": APP, "targetPorts": [{"number": 0}]}, "spec.targetPorts: 0 is not within"),
        (
            {"selector": APP, "targetPorts": [{"number": 65536}]},
            "spec.targetPorts: 65536 is not within 1..65535",
        ),
        (
            {"selector": APP, "targetPorts": [{"number": 1}, {"number": 1}]},
            "spec.targetPorts: port numbers must be unique",
        ),
        ({}, "spec.selector.matchLabels: must have at least one label"),
        (
            {"selector": {"matchLabels": {}}, "targetPorts": [{"number": 1}]},
            "spec.selector.matchLabels: must have at least one label",
        ),
        ({"selector": {"matchLabels": {"app": 5}}}, "spec.selector: Expected `str`, got `int`"),
        ({"selector": 5}, "spec.selector: Expected"),
    ],
)
def test_a_pool_that_cannot_be_meant_is_refused(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        read_membership(make_pool(**spec), is_stable=True)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"selector": {}, "targetPortNumber": 1}, "spec.selector: must have at least one label"),
        ({"selector": {"a": "b"}}, "spec.targetPortNumber: must name at least one port"),
        ({"selector": APP, "targetPortNumber": 1}, "spec.selector: Expected `str`"),
    ],
)
def test_a_pool_of_the_older_version_is_refused_in_its_own_words(
    spec: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        read_membership(make_pool(**spec), is_stable=False)


@pytest.mark.parametrize("key", ["targets", "split"])
@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((None, None), (1, 1)),
        ((1, 3), (1, 3)),
        ((0, 3), (0, 3)),
        ((None, 3), (0, 3)),
    ],
)
def test_weights_are_told_or_all_alike(
    key: str, weights: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    targets = list(zip("ab", weights, strict=True))
    (given,) = make_rewrite("r", rule("m", *targets, key=key)).spec.rules or [RewriteRule()]
    assert read_rewrite("r", given) == Rewrite(
        name="r",
        models=("m",),
        targets=tuple(
            RewriteTarget(name, weight)
            for name, weight in zip("ab", expected, strict=True)
            if weight
        ),
    )


def test_the_newer_name_of_targets_wins_and_a_rule_may_be_for_every_model() -> None:
    both = {**rule(None, ("new", None)), **rule(None, ("old", None), key="split")}
    (given,) = make_rewrite("r", both).spec.rules or [RewriteRule()]
    assert read_rewrite("r", given) == Rewrite("r", (), (RewriteTarget("new", 1),))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "spec.rules[].targets: must name at least one model"),
        (rule("m"), "spec.rules[].targets: must name at least one model"),
        (
            rule("m", ("a", 1), ("b", -1)),
            "spec.rules[].targets[].weight: must be within 0..1000000",
        ),
        (
            rule("m", ("a", 0), ("b", 0)),
            "spec.rules[].targets[].weight: must not be 0 for every target",
        ),
        (
            rule("m", ("a", None), ("b", 0)),
            "spec.rules[].targets[].weight: must not be 0 for every target",
        ),
        (rule("m", ("a", 10**400)), "spec.rules[].targets[].weight: must be within 0..1000000"),
        (rule("m", ("", 1)), "spec.rules[].targets[].modelRewrite: must not be empty"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(given: dict[str, Any], problem: str) -> None:
    (read,) = make_rewrite("r", given).spec.rules or [RewriteRule()]
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        read_rewrite("r", read)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, None),
        ({"other": "8000"}, None),
        ({NEWER: "8000"}, {8000}),
        ({OLDER: "8000"}, {8000}),
        ({NEWER: "1", OLDER: "2"}, {1}),
        ({NEWER: "", OLDER: "2"}, set()),
        ({NEWER: " 8000 ,8001,"}, {8000, 8001}),
        ({NEWER: "8000abc,x9,-1,0"}, {8000, 0}),
        ({NEWER: "none"}, set()),
        ({NEWER: "9" * 100}, {999999999}),
    ],
)
def test_an_annotation_leaves_ports_active(
    annotations: dict[str, str], expected: set[int] | None
) -> None:
    assert active_ports(annotations) == expected

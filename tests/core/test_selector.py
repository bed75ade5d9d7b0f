from __future__ import annotations

import msgspec
import pytest

from epp.core.selector import LabelSelector, Selector, SelectorError

LABELS = {
    "app": "vllm",
    "env": "prod",
    "size": "7",
    "odd": "1_0",
    "example.com/gpu": "h100",
    "empty": "",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=vllm", True),
        ("app==vllm", True),
        (" app = vllm , env=prod ", True),
        ("app=vllm,env=test", False),
        ("app!=vllm", False),
        ("tier!=x", True),
        ("env in (test, prod)", True),
        ("env in (test)", False),
        ("env notin (test)", True),
        ("env notin (prod,test)", False),
        ("tier notin (a)", True),
        ("app", True),
        ("tier", False),
        ("!tier", True),
        ("!app", False),
        ("size>6", True),
        ("size > 7", False),
        ("size<8", True),
        ("size>-1", True),
        ("odd>1", False),
        ("app>1", False),
        ("tier<1", False),
        ("example.com/gpu=h100", True),
        ("empty=", True),
        ("empty in ()", True),
        ("in in (a)", False),
        ("app=vllm,env in (prod,x),tier!=x,!other", True),
    ],
)
def test_a_selector_takes_the_objects_it_describes(text: str, expected: bool) -> None:
    assert Selector.parse(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "app=vllm,", "=x", "app=a b", "app in a", "app in (a", "app in (a,(b))"),
        *(
            "a>x",
            "-a",
            "app=" + "x" * 64,
            "env in (a b)",
            "app=vllm env=prod",
            "app!vllm",
            "n>" + "1" * 64,
        ),
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError):
        Selector.parse(text)


def test_labels_are_a_selector() -> None:
    selector = Selector.of({"app": "vllm", "env": "prod"})
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "vllm"})
    assert selector == Selector.of({"env": "prod", "app": "vllm"})
    assert Selector().matches({})


def structured(**fields: object) -> LabelSelector:
    return msgspec.convert(fields, LabelSelector)


def expression(key: str, operator: str, *values: str) -> dict[str, object]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("labels", "expressions", "text"),
    [
        ({"app": "vllm"}, [], "app=vllm"),
        ({"app": "sglang"}, [], "app=sglang"),
        ({"empty": ""}, [], "empty="),
        ({}, [expression("env", "In", "test", "prod")], "env in (test,prod)"),
        ({}, [expression("tier", "In", "a")], "tier in (a)"),
        ({}, [expression("env", "NotIn", "prod")], "env notin (prod)"),
        ({}, [expression("tier", "NotIn", "a")], "tier notin (a)"),
        ({}, [expression("app", "Exists")], "app"),
        ({}, [expression("tier", "Exists")], "tier"),
        ({}, [expression("app", "DoesNotExist")], "!app"),
        ({}, [expression("tier", "DoesNotExist")], "!tier"),
        (
            {"app": "vllm", "env": "prod"},
            [expression("example.com/gpu", "In", "h100"), expression("tier", "Exists")],
            "app=vllm,env=prod,example.com/gpu in (h100),tier",
        ),
    ],
)
def test_the_structured_form_means_what_the_text_means(
    labels: dict[str, str], expressions: list[dict[str, object]], text: str
) -> None:
    selector = structured(matchLabels=labels, matchExpressions=expressions)
    assert list(selector.problems()) == []
    assert selector.compiled() == Selector.parse(text)
    assert selector.compiled().matches(LABELS) is Selector.parse(text).matches(LABELS)


def test_an_empty_structure_matches_everything() -> None:
    assert structured().compiled().matches({})


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"matchLabels": {"-a": "x"}}, ["matchLabels"]),
        ({"matchLabels": {"a": "x y", "b": "x" * 64}}, ["matchLabels", "matchLabels"]),
        ({"matchExpressions": [expression("a/b/c", "Exists")]}, ["matchExpressions[0].key"]),
        ({"matchExpressions": [expression("x" * 64, "Exists")]}, ["matchExpressions[0].key"]),
        ({"matchExpressions": [expression("a", "In")]}, ["matchExpressions[0].values"]),
        ({"matchExpressions": [expression("a", "NotIn", "-")]}, ["matchExpressions[0].values"]),
        (
            {"matchExpressions": [expression("a", "Exists"), expression("", "Exists", "b")]},
            ["matchExpressions[1].key", "matchExpressions[1].values"],
        ),
    ],
)
def test_every_problem_of_the_structured_form_is_told(
    fields: dict[str, object], places: list[str]
) -> None:
    assert [place for place, _ in structured(**fields).problems()] == places

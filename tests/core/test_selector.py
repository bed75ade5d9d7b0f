from __future__ import annotations

import pytest

from epp.core.selector import Selector, SelectorError

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

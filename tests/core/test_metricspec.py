from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.metricspec import MetricSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vllm:num_requests_waiting", MetricSpec("vllm:num_requests_waiting")),
        ("  name  ", MetricSpec("name")),
        ("name{}", MetricSpec("name")),
        ("name{a=b}", MetricSpec("name", (("a", "b"),))),
        ("name {a=b}", MetricSpec("name", (("a", "b"),))),
        ('name{a="b"}', MetricSpec("name", (("a", "b"),))),
        ("name{a='b'}", MetricSpec("name", (("a", "b"),))),
        ("name{ a = b , c = d , }", MetricSpec("name", (("a", "b"), ("c", "d")))),
        ('name{a="x, y}=z",b=c}', MetricSpec("name", (("a", "x, y}=z"), ("b", "c")))),
        (r'name{a="q\" b\\ n\n"}', MetricSpec("name", (("a", 'q" b\\ n\n'),))),
        ('name{a=""}', MetricSpec("name", (("a", ""),))),
        ("name{model=Qwen/Qwen3-32B}", MetricSpec("name", (("model", "Qwen/Qwen3-32B"),))),
    ],
)
def test_a_spec_is_a_name_and_labels(text: str, expected: MetricSpec) -> None:
    assert MetricSpec.parse(text) == expected


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_spec_disables_the_metric(text: str) -> None:
    assert MetricSpec.parse(text) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1name", "does not start with a metric name"),
        ("{a=b}", "does not start with a metric name"),
        ("name foo", "unexpected 'foo' after the name"),
        ("name{a=b", "expected , or } at the end"),
        ("name{", "expected a label name or } at the end"),
        ("name{a=b}x", "unexpected 'x' after }"),
        ("name{a}", "expected = after label 'a'"),
        ("name{a!=b}", "expected = after label 'a'; no other operator is supported"),
        ('name{a=~"b.*"}', "expected = after label 'a'; no other operator is supported"),
        ("name{a=}", "expected one label value at '}'"),
        ("name{a=b=c}", "expected one label value at 'b=c}'"),
        ('name{a="b}', "expected one label value"),
        ("name{,}", "expected a label name or }"),
        ('name{a="b"c="d"}', "expected , or }"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_text_and_the_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match="invalid metric spec") as error:
        MetricSpec.parse(text)
    assert repr(text.strip()) in str(error.value)
    assert rule in str(error.value)


@given(st.text(alphabet="ab:_{}=,\"'\\ \n1~!", max_size=30))
def test_any_text_is_a_spec_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        spec = MetricSpec.parse(text)
        assert spec is None or spec.name in text

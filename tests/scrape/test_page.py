from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.metricspec import MetricSpec
from epp.scrape.line import MAX_LINE_BYTES, MAX_LINE_MARKS, Budget
from epp.scrape.page import MetricFinder
from tests.scrape.pages import Family, PlainSample, Step, families, parse, render, steps

WANTED = "vllm:waiting"
LOOKALIKES = ("vllm:waiting_by_reason", "vllm:waitin", "xvllm:waiting", "vllm:waiting:sum")


def find(page: str, finder: MetricFinder | None = None) -> list[PlainSample]:
    finder = finder or MetricFinder(MetricSpec(WANTED))
    samples = finder.find(page.encode(), Budget())
    return [
        PlainSample(sample.value, sample.labels.by_name, sample.timestamp) for sample in samples
    ]


def _spec(text: str) -> MetricSpec:
    spec = MetricSpec.parse(text)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vllm:waiting 7", PlainSample(7.0)),
        ("vllm:waiting\t7.5e+1\t", PlainSample(75.0)),
        ("vllm:waiting 7\r", PlainSample(7.0)),
        ("vllm:waiting{} 7", PlainSample(7.0)),
        ('vllm:waiting{a="b"}7', PlainSample(7.0, {"a": "b"})),
        ('vllm:waiting {a="b"} 7', PlainSample(7.0, {"a": "b"})),
        ('vllm:waiting{ a = "b" , c="d",} 7', PlainSample(7.0, {"a": "b", "c": "d"})),
        ('vllm:waiting{a="} 1 \\" \\\\ \\n {"} 7', PlainSample(7.0, {"a": '} 1 " \\ \n {'})),
        ('vllm:waiting{a="\\x"} 7', PlainSample(7.0, {"a": "\\x"})),
        ('vllm:waiting{a="é"} 7', PlainSample(7.0, {"a": "é"})),
        ("vllm:waiting 7 1763493000000", PlainSample(7.0, {}, 1763493000000.0)),
        ("vllm:waiting 7 -1", PlainSample(7.0, {}, -1.0)),
        ("vllm:waiting -0.5", PlainSample(-0.5)),
    ],
)
def test_a_sample_line_is_read(line: str, expected: PlainSample) -> None:
    for page in (line, f"{line}\n", f"# HELP x y\n{line}\nother 1\n"):
        assert find(page) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "vllm:waiting",
        "vllm:waiting ",
        "vllm:waiting seven",
        "vllm:waiting 1_0",
        "vllm:waiting NaN",
        "vllm:waiting +Inf",
        "vllm:waiting -inf",
        "vllm:waiting 1e999",
        "vllm:waiting " + "7" * 65,
        "vllm:waiting 7 soon",
        "vllm:waiting 7 " + "1" * 400,
        "vllm:waiting 7 1 2",
        'vllm:waiting{a="b} 7',
        'vllm:waiting{a="b"',
        'vllm:waiting{a="b"}',
        "vllm:waiting{a=b} 7",
        'vllm:waiting{a="b" c="d"} 7',
        'vllm:waiting{a="b\\"} 7',
        "vllm:waiting{7",
        'vllm:waiting{a="b"}} 7',
        'vllm:waiting{a="' + "b" * MAX_LINE_BYTES + '"} 7',
        "vllm:waiting{" + 'a="b",' * (MAX_LINE_MARKS // 2 + 1) + "} 7",
        'vllm:waiting{a="' + "\\\\" * MAX_LINE_MARKS + '"} 7',
    ],
)
def test_a_bad_line_costs_only_itself(line: str) -> None:
    assert find(f"{line}\n") == []
    assert find(f"vllm:waiting 1\n{line}\nvllm:waiting 2\n") == [PlainSample(1.0), PlainSample(2.0)]


def test_metrics_with_similar_names_are_others() -> None:
    page = "".join(f"{name} 9\n" for name in LOOKALIKES)
    assert find(page) == []
    assert find(f"{page}vllm:waiting 7\n{page}") == [PlainSample(7.0)]


def test_a_page_without_the_metric_has_no_samples() -> None:
    assert find("") == []
    assert find("\n\n# vllm:waiting 7\n vllm:running 7\n") == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (WANTED, 1.0),
        ("vllm:waiting{engine=1}", 2.0),
        ('vllm:waiting{engine="1",model="b"}', 3.0),
        ("vllm:waiting{engine=2}", None),
        ("vllm:waiting{model=z}", 4.0),
        ("vllm:waiting{absent=}", None),
    ],
)
def test_the_labels_of_the_spec_select_a_sample(spec: str, expected: float | None) -> None:
    page = (
        'vllm:waiting{engine="0",model="a"} 1\n'
        'vllm:waiting{engine="1",model="a"} 2\n'
        'vllm:waiting{engine="1",model="b"} 3\n'
        "# a second group, as when the pages of two servers were joined\n"
        'vllm:waiting{engine="7",model="z"} 4\n'
    )
    finder = MetricFinder(_spec(spec.replace("absent=", 'absent=""')))
    for _ in range(2):
        best = finder.find_best(page.encode(), Budget())
        assert (best.value if best else None) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1", "2"], 1.0),
        (["1 10", "2 20", "3 20"], 2.0),
        (["1", "2 1"], 2.0),
        (["1", "2 -1"], 1.0),
        (["NaN 30", "2 20"], 2.0),
    ],
)
def test_the_newest_sample_wins_and_of_equal_ones_the_first(
    lines: list[str], expected: float
) -> None:
    page = "".join(f"{WANTED} {line}\n" for line in lines)
    best = MetricFinder(MetricSpec(WANTED)).find_best(page.encode(), Budget())
    assert best is not None
    assert best.value == expected


@pytest.mark.parametrize("shift", [-5000, -600, -70, 0, 70, 600, 5000])
def test_a_group_is_found_wherever_it_moves(shift: int) -> None:
    group = 'vllm:waiting{e="0"} 1\nvllm:waiting{e="1"} 2\n# end\nvllm:waiting_by_reason 3\n'
    finder = MetricFinder(MetricSpec(WANTED))
    for padding in (6000, 6000 + shift, 6000):
        page = f"# {'x' * padding}\n{group}"
        assert [sample.value for sample in find(page, finder)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("{a} 1\n", "{a} 2\n{b} 3\n", [2.0, 3.0]),
        ("{a} 1\n", "{a} 2\n# remark\n\n{b} 3\n", [2.0, 3.0]),
        ("{a} 1\n", "{a} 2 5\n", [2.0]),
        ("{a} 1\n", "{a} NaN\n{b} 3\n", [3.0]),
        ("{a} 1\n{b} 1", "{a} 1\n{b} 12\n", [1.0, 12.0]),
        ("{a} 1\n{b} 1\n", "{a} 1\n{b} 1\n{c} 1\n", [1.0, 1.0, 1.0]),
        ("{a} 1\n{b} 1\n", "{b} 1\n", [1.0]),
        ("{a} 1\n", "{b} 1\n{a} 2\n", [1.0, 2.0]),
    ],
)
def test_a_run_that_was_read_before_is_read_as_it_is_now(
    before: str, after: str, expected: list[float]
) -> None:
    finder = MetricFinder(MetricSpec(WANTED))
    for run in (before, before, after):
        for label in "abc":
            run = run.replace(f"{{{label}}}", f'{WANTED}{{{label}="1"}}')
        page = f"\n# TYPE {WANTED} gauge\n{run}"
        found = [sample.value for sample in find(page, finder)]
    assert found == expected


@pytest.mark.parametrize(
    "line",
    [
        "vllm:waiting NaN\n",
        "vllm:waiting_by_reason 1\n\n",
        "vllm:waiting{" + 'a="b",' * 20 + "} NaN\n",
        f"vllm:waiting {'x' * 60_000}\n",
    ],
)
def test_what_a_page_can_cost_is_bounded(line: str) -> None:
    page = (line * (4_000_000 // len(line))).encode() + b"vllm:waiting 1\n"
    budget = Budget()
    assert list(MetricFinder(MetricSpec(WANTED)).find(page, budget)) == []
    assert budget.left <= 0


def test_a_line_too_long_to_read_leaves_the_others_readable() -> None:
    for rest in ("x" * 4_000_000, '"' * MAX_LINE_BYTES):
        assert find(f"vllm:waiting {rest}\nvllm:waiting 1\n") == [PlainSample(1.0)]


def test_all_finders_of_a_page_share_what_it_can_cost() -> None:
    page = b"vllm:waiting NaN\n" * 20_000
    budget = Budget()
    MetricFinder(MetricSpec(WANTED)).find(page, budget)
    assert list(MetricFinder(MetricSpec("a")).find(b"a 1\n", budget)) == []
    assert len(MetricFinder(MetricSpec("a")).find(b"a 1\n", Budget())) == 1


@pytest.mark.parametrize("spec", [WANTED, "vllm:waiting{engine=x}"])
@given(
    families([WANTED, *LOOKALIKES, "other"], ["engine", "model_name", "le"]),
    st.lists(steps, min_size=1, max_size=5),
)
def test_finding_equals_parsing_the_whole_page(
    spec: str, families: list[Family], steps: list[Step]
) -> None:
    finder = MetricFinder(_spec(spec))
    for step in steps:
        page = render(families, step)
        assert find(page, finder) == find(page, MetricFinder(_spec(spec)))
        assert find(page, finder) == parse(page, _spec(spec))


@given(st.lists(st.text(alphabet='vllm:waiting{}="\\,.\n 19#eN', max_size=60), max_size=3))
def test_no_page_raises(pages: list[str]) -> None:
    finder = MetricFinder(_spec('vllm:waiting{a="1"}'))
    for page in pages:
        finder.find_best(f"vllm:waiting{page}\nvllm:waiting{{{page}\n".encode(), Budget())

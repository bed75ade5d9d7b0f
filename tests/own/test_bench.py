from __future__ import annotations

from pathlib import Path

import pytest

from epp.core.plugin import REGISTRY, Filter, Picker, Scorer
from epp.own.bench import BenchError, Row, main, measure, read_parameters, table
from epp.own.new import write_plugin
from epp.own.templates import TEMPLATES
from tests.own.test_loading import scorer


def few(type_name: str, parameters: str = "") -> list[Row]:
    return list(measure(REGISTRY[type_name], parameters, sizes=(1, 3), rounds=1))


@pytest.mark.parametrize(
    ("type_name", "methods"),
    [
        ("queue-scorer", ["score"]),
        ("header-based-testing-filter", ["filter"]),
        ("max-score-picker", ["pick"]),
    ],
)
def test_a_built_in_type_is_measured_by_its_methods(type_name: str, methods: list[str]) -> None:
    rows = few(type_name)
    assert [row.method for row in rows] == methods
    assert all(len(row.microseconds) == 2 and min(row.microseconds) > 0 for row in rows)


def test_every_built_in_scorer_filter_and_picker_can_be_measured() -> None:
    roles = {Scorer: "score", Filter: "filter", Picker: "pick"}
    for name, declared in REGISTRY.items():
        for role, method in roles.items():
            if issubclass(declared.cls, role):
                (row,) = [r for r in few(name) if r.method in (method, "")]
                assert not row.reason or row.reason.startswith("needs --parameters")


@pytest.mark.parametrize("role", TEMPLATES)
def test_a_new_plugin_can_be_measured(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = write_plugin(role, f"my-{role}", tmp_path, REGISTRY)
    assert main([str(path), "--parameters", '{"threshold": 5}']) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["us", "per", "call", "10", "100", "1,000", "endpoints"]
    assert row.startswith(f"my-{role} ")
    assert all(float(number) > 0 for number in row.split()[2:])


def test_a_plugin_that_fails_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.py"
    path.write_text(scorer().replace("[self._value for _ in endpoints]", "[1 / 0]"))
    assert main([str(path)]) == 1
    assert "my-scorer score  ZeroDivisionError: division by zero" in capsys.readouterr().out


def test_what_is_needed_and_not_given_is_told() -> None:
    (row,) = few("file-discovery")
    assert row.reason == "needs --parameters: path"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"maxNumOfEndpoints": "x"}', "Expected `int`"),
        ('{"more": 1}', "unknown parameter of max-score-picker"),
        ("{", "--parameters"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(text: str, problem: str) -> None:
    with pytest.raises(BenchError, match=problem):
        read_parameters(REGISTRY["max-score-picker"], text)


def test_parameters_are_read_as_in_a_configuration() -> None:
    params = read_parameters(REGISTRY["max-score-picker"], '{"MAXNUMOFENDPOINTS": 3}')
    assert params.max_num_of_endpoints == 3


def test_files_and_names_that_are_none_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    assert main(["no-such-scorer"]) == 1
    assert main([str(broken)]) == 1
    told = capsys.readouterr().err
    assert "no-such-scorer is no file and no type of a built-in plugin" in told
    assert f"{broken}:1: ZeroDivisionError: division by zero" in told


@pytest.mark.parametrize("argv", [[], ["queue-scorer", "--all"]])
def test_one_thing_is_measured_at_a_time(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert "usage: epp bench-plugin" in capsys.readouterr().err


def test_the_table_is_aligned() -> None:
    rows = [Row("a-scorer", "score", (1.25, 10.0, 1000.0)), Row("b", "", reason="why not")]
    assert table(rows) == (
        "us per call           10       100     1,000  endpoints\n"
        "a-scorer score       1.2      10.0    1000.0\n"
        "b               why not\n"
    )

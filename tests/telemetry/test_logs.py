from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def record(**changes: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {
            "name": "epp.setup",
            "msg": "hello",
            "levelno": logging.INFO,
            "pathname": "/srv/epp/app.py",
            "lineno": 7,
            "created": 1763570642.25,
            **changes,
        }
    )
    return made


def as_json(made: logging.LogRecord, encoding: str = "rfc3339") -> str:
    return logs.Formatter(logs.Encoder.JSON, logs.TimeEncoding(encoding)).format(made)


def as_console(made: logging.LogRecord) -> str:
    return logs.Formatter(logs.Encoder.CONSOLE, logs.TimeEncoding.RFC3339).format(made)


def test_keys_come_in_upstream_s_order() -> None:
    line = as_json(record(fields={"x-request-id": "r", "priority": 3}))
    assert line == (
        '{"level":"info","ts":"2025-11-19T16:44:02Z","logger":"setup","caller":"epp/app.py:7",'
        '"msg":"hello","x-request-id":"r","priority":3}'
    )


def test_the_console_has_columns() -> None:
    made = record(fields={"port": 9002}, levelno=logs.level(2), msg="two\nlines")
    assert as_console(made) == (
        '2025-11-19T16:44:02Z\tLEVEL(-2)\tsetup\tepp/app.py:7\ttwo\\nlines\t{"port":9002}'
    )
    assert as_console(record(name="root")) == "2025-11-19T16:44:02Z\tINFO\tepp/app.py:7\thello"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (logs.level(0), "info"),
        (logs.level(1), "debug"),
        (logs.level(logs.DEFAULT), "Level(-2)"),
        (logs.level(logs.TRACE), "Level(-5)"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "fatal"),
    ],
)
def test_levels_have_upstream_s_names(number: int, name: str) -> None:
    assert json.loads(as_json(record(levelno=number)))["level"] == name


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("epoch", 1763570642.25),
        ("millis", 1763570642250.0),
        ("nanos", 1763570642250000000),
        ("iso8601", "2025-11-19T16:44:02.250Z"),
        ("rfc3339", "2025-11-19T16:44:02Z"),
        ("rfc3339nano", "2025-11-19T16:44:02.25Z"),
    ],
)
def test_times_are_spelled_as_asked(encoding: str, expected: object) -> None:
    assert json.loads(as_json(record(), encoding))["ts"] == expected


def test_a_whole_second_has_no_fraction() -> None:
    line = as_json(record(created=1763570640.0), "rfc3339nano")
    assert json.loads(line)["ts"] == "2025-11-19T16:44:00Z"


def test_errors_are_texts_and_only_unexpected_ones_have_a_trace() -> None:
    expected = json.loads(as_json(record(fields={"error": ValueError("no")})))
    assert expected["error"] == "no"
    assert "stacktrace" not in expected
    try:
        raise KeyError
    except KeyError as error:
        info = (type(error), error, error.__traceback__)
    failed = record(exc_info=info, levelno=logging.ERROR)
    for line in (as_json(failed), as_console(failed)):
        assert "\n" not in line
        assert "KeyError" in line
        assert "stacktrace" in line


@pytest.mark.parametrize(
    ("threshold", "levels"),
    [
        ("info", {"info", "warn", "error", "fatal"}),
        ("warn", {"warn", "error", "fatal"}),
        ("error", {"error", "fatal"}),
        ("panic", {"fatal"}),
    ],
)
def test_a_stack_trace_is_shown_from_a_level_on(
    stream: io.StringIO, threshold: str, levels: set[str]
) -> None:
    logs.setup(stream=stream, stacktrace_level=threshold)
    logger = logging.getLogger("epp.test")
    for number in (logs.level(2), logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(number, "line", exc_info=ValueError("no"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["no"] * 5
    assert {line["level"] for line in lines if "stacktrace" in line} == levels
    assert all(list(line)[-1] == "stacktrace" for line in lines if "stacktrace" in line)


@pytest.mark.parametrize(
    "value", ["a\udcff", object(), {1: 2}, float("nan"), b"\xff", {"a": {"b": "\ud800"}}, "x\r\ny"]
)
def test_any_value_makes_one_readable_line(value: object) -> None:
    line = as_json(record(fields={"value": value, "msg": "not this one"}))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["msg"] == "hello"
    assert "value" in json.loads(line)


def plain(made: logging.LogRecord, fields: dict[str, Any]) -> str:
    """How a line is written with one dictionary for all of it."""
    whole = logs.Formatter(logs.Encoder.JSON, logs.TimeEncoding.RFC3339)
    with_trace = made.__dict__ | {"fields": None, "exc_info": None}
    head = json.loads(whole.format(logging.makeLogRecord(with_trace)))
    texts = {
        key: (str(value) or type(value).__name__) if isinstance(value, Exception) else value
        for key, value in fields.items()
    }
    return msgspec.json.encode(head | {k: v for k, v in texts.items() if k not in head}).decode()


FIELD_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from([ValueError("no"), KeyError()])
)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"))
        | st.sampled_from(["msg", "logger", "x-request-id", "error"]),
        FIELD_VALUES,
        max_size=4,
    ),
    st.sampled_from(["root", "epp", "director"]),
    st.sampled_from(["hello", "", 'a"b', "50%"]),
    st.integers(0, 2_000_000_000),
)
def test_the_short_way_writes_the_line_that_the_plain_one_writes(
    fields: dict[str, Any], name: str, msg: str, second: int
) -> None:
    made = record(name=name, msg=msg, created=second + 0.25, fields=fields)
    assert as_json(made) == plain(made, fields)


@pytest.mark.parametrize(
    ("verbosity", "log_level", "passing"),
    [
        (2, "", {0, 1, 2}),
        (4, "", {0, 1, 2, 3, 4}),
        (0, "", {0}),
        (5, "error", set()),
        (5, "panic", set()),
        (0, "debug", {0, 1}),
        (4, "info", {0}),
        (0, "3", {0, 1, 2, 3}),
        (99, "", {0, 1, 2, 3, 4, 5}),
    ],
)
def test_verbosity_lets_pass_what_it_names(
    stream: io.StringIO, verbosity: int, log_level: str, passing: set[int]
) -> None:
    logs.setup(verbosity=verbosity, log_level=log_level, stream=stream)
    logger = logging.getLogger("epp.test")
    for v in range(6):
        logs.log(logger, v, "line", v=v)
    logs.error(logger, "failed", error="e")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["v"] for line in lines if line["msg"] == "line"} == passing
    assert ("failed" in {line["msg"] for line in lines}) is (log_level != "panic")


def test_the_caller_is_who_called(stream: io.StringIO) -> None:
    logs.setup(stream=stream, encoder="console")
    logs.log(logging.getLogger("epp.test"), 0, "here")
    logs.error(logging.getLogger("epp.test"), "there")
    for line in stream.getvalue().splitlines():
        assert re.search(r"\ttelemetry/test_logs\.py:\d+\t", line)


def test_a_second_setup_replaces_the_first(stream: io.StringIO) -> None:
    logs.setup(stream=io.StringIO())
    logs.setup(stream=stream)
    logs.log(logging.getLogger("epp.test"), 0, "once")
    assert stream.getvalue().count("once") == 1

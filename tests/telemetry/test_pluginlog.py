from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from epp.core.call import PluginCall
from epp.core.plugin import Scorer
from epp.own.alarm import survive
from epp.telemetry import logs
from epp.telemetry.pluginlog import PluginLog, place
from tests.fakes import FakeClock

MINE = """\
class Mine:
    def score(self):
        return self.half({})

    def half(self, text):
        return int(text)
"""


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.setup(verbosity=0, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_failure_is_told_at_most_once_a_minute_for_each_plugin_and_point(
    stream: io.StringIO,
) -> None:
    clock = FakeClock()
    log = PluginLog(clock)
    for seconds, expected in ((0, 1), (59.0, 1), (0.5, 1), (0.5, 2)):
        clock.advance(seconds)
        log.plugin_failed("Scorer", "my-scorer", "mine", ValueError("no"))
        assert len(lines(stream)) == expected
    log.plugin_failed("Filter", "my-scorer", "mine", ValueError("no"))
    log.plugin_failed("Scorer", "my-scorer", "other", KeyError())
    told = lines(stream)
    assert [line["failures"] for line in told] == [1, 3, 1, 1]
    assert [(line["extensionPoint"], line["plugin"], line["error"]) for line in told[1:]] == [
        ("Scorer", "mine", "ValueError: no"),
        ("Filter", "mine", "ValueError: no"),
        ("Scorer", "other", "KeyError"),
    ]
    assert told[0]["type"] == "my-scorer"


def test_that_a_plugin_is_set_aside_is_told(stream: io.StringIO) -> None:
    class Slow(Scorer):
        type = "slow-scorer"
        budget_seconds = 0.001

    call = PluginCall(Slow(), "Scorer", PluginLog(FakeClock()))
    for _ in range(10):
        call.ran(1.0)
    (line,) = lines(stream)
    assert line["msg"] == "Plugin is set aside, it exceeds its time budget too often"
    assert (line["plugin"], line["extensionPoint"]) == ("slow-scorer", "Scorer")


@pytest.mark.parametrize(("text", "line"), [("'x'", 6), ("1 / 0", 3)])
def test_the_place_is_the_last_step_in_the_plugin_s_file(
    tmp_path: Path, text: str, line: int
) -> None:
    file = str(tmp_path / "mine.py")
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(MINE.format(text), file, "exec"), names)

    survived = survive(names["Mine"]().score)
    # As the rooms that call plugins do: what is above the plugin is of this package.
    caller: dict[str, Any] = {"__name__": "epp.caller", "score": survived}
    code = "def call():\n    try:\n        score()\n    except Exception as e:\n        return e\n"
    exec(compile(code, "caller.py", "exec"), caller)
    assert place(caller["call"]()) == f"{file}:{line}"


def test_an_error_of_the_caller_has_no_place() -> None:
    assert place(ValueError("two scores for three endpoints")) == ""

from __future__ import annotations

import importlib

import pytest

from epp.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_each_sub_command_has_its_own_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(importlib.import_module(COMMANDS[command]).main)
    try:
        status = main([command, "--help"])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 0
    assert "--" in capsys.readouterr().out

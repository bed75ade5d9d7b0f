from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab import conformance
from lab.conformance import BIN, MissingToolError, run_h2spec, run_interop, tool


def test_without_go_a_missing_tool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "BIN", Path("/nowhere"))
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(MissingToolError, match="no 'go' to build it with"):
        tool("h2spec", "module@v1")


@pytest.mark.system
@pytest.mark.parametrize(("name", "run"), [("h2spec", run_h2spec), ("client", run_interop)])
def test_the_tools_of_others_find_nothing(tmp_path: Path, name: str, run: object) -> None:
    if not (BIN / name).exists():
        pytest.skip(f"{name} is not built: make h2spec interop")
    assert callable(run)
    assert run(tmp_path)

"""What is said about configurations as people break them.

``broken/NAME.yaml`` is wrong, ``broken/NAME.txt`` is what ``epp check-config`` says. After a change
that is meant, write the texts anew with ``UPDATE_BROKEN=1 pytest tests/config/test_broken.py`` and
read the difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from epp.config.check import check
from epp.config.manifest import parts
from epp.core.plugin import REGISTRY
from tests.config.loading import load

FOLDER = Path(__file__).parent / "broken"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def said(name: str) -> str:
    """What the command prints about a file."""
    text = (FOLDER / f"{name}.yaml").read_text()
    return "".join(
        f"{finding}\n"
        for part in parts(text)
        for finding in check(part, f"{name}.yaml", REGISTRY, allow_experimental=False).findings
        if finding.severity != "note"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_told_what_is_wrong(name: str) -> None:
    kept = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_BROKEN"):
        kept.write_text(said(name))
    assert said(name) == kept.read_text()
    assert ": error: " in kept.read_text()


def test_the_command_says_the_same_and_fails() -> None:
    load("")  # the plugins are there
    command = [sys.executable, "-m", "epp", "check-config", *(f"{name}.yaml" for name in NAMES)]
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "".join((FOLDER / f"{name}.txt").read_text() for name in NAMES)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_the_command_reads_the_standard_input() -> None:
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-m", "epp", "check-config", "-"],
        env={**os.environ, "PYTHONPATH": root},
        input="plugins: [{type: nope}]",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("<stdin>:1:12: error: plugins[0].type: plugin type 'nope' is")

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from epp.config.check import check, parser, run
from epp.config.document import MAX_BYTES
from epp.config.manifest import Part
from epp.core.plugin import REGISTRY

BROKEN = Path(__file__).parent / "broken"
NAMES = sorted(path.stem for path in BROKEN.glob("*.yaml"))
ROOT = Path(__file__).parents[2]
RIGHT = "plugins: [{type: queue-scorer}]\n"
WARNED = "plugins: [{type: random-picker, parameters: {x: 1}}]\n"
NOTED = "plugins: [{type: random-picker, parameters: {MAXNUMOFENDPOINTS: 1}}]\n"
WRONG = "plugins:\n- type: nope%,:\n"


@pytest.fixture(name="files")
def write_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("r", RIGHT), ("w", WARNED), ("n", NOTED), ("e", WRONG), ("o", "a: 1")):
        Path(f"{name}.yaml").write_text(text)
    return tmp_path


def status(*arguments: str) -> int:
    return run(parser().parse_args(arguments), REGISTRY)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("r.yaml", 0),
        ("w.yaml", 0),
        ("w.yaml --strict", 1),
        ("n.yaml --strict", 0),
        ("e.yaml", 1),
        ("r.yaml e.yaml", 1),
        ("o.yaml", 1),
        ("o.yaml --skip-others", 0),
        ("missing.yaml", 2),
        ("missing.yaml e.yaml", 2),
        (".", 2),
        ("", 2),
        ("--schema", 0),
        ("--rule no-yaml", 0),
        ("--rule nope", 2),
    ],
)
@pytest.mark.usefixtures("files", "capsys")
def test_the_status_says_whether_all_can_be_used(arguments: str, expected: int) -> None:
    assert status(*arguments.split()) == expected


@pytest.mark.usefixtures("files")
def test_findings_are_lines_and_notes_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    status("e.yaml", "w.yaml", "n.yaml")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["e.yaml:2:3", "error"],
        ["w.yaml:1:46", "warning"],
    ]
    status("--notes", "n.yaml")
    assert capsys.readouterr().out.startswith("n.yaml:1:46: note: plugins[0].parameters.MAX")


@pytest.mark.usefixtures("files")
def test_findings_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status("--format", "json", "e.yaml", "r.yaml")
    (found,) = json.loads(capsys.readouterr().out)
    assert found.pop("text").startswith("plugin type 'nope%,:' is not found in registry")
    assert found == {
        "file": "e.yaml",
        "line": 2,
        "column": 3,
        "severity": "error",
        "place": "plugins[0].type",
        "rule": "unknown-type",
    }
    status("--format", "json", "r.yaml")
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.usefixtures("files")
def test_findings_as_commands_of_github(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a,b:c%.yaml").write_text(WRONG)
    status("--format", "github", "a,b:c%.yaml", "w.yaml")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "::error file=a%2Cb%3Ac%25.yaml,line=2,col=3,title=unknown-type::plugins[0].type: plugin "
        "type 'nope%25,:' is not"
    )
    assert second.startswith("::warning file=w.yaml,line=1,col=46,title=unknown-parameter::")


@pytest.mark.usefixtures("files")
def test_what_can_be_used_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    status("--explain", "r.yaml", "e.yaml", "n.yaml")
    out = capsys.readouterr().out
    assert out.count("apiVersion: ") == 2
    assert "\n---\n" in out
    assert "# r.yaml:1" in out


def test_standard_input_is_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WRONG.encode())))
    assert status("-") == 1
    assert capsys.readouterr().out.startswith("<stdin>:2:3: error: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff", "f.yaml: is not UTF-8"), (b"\xc3\xa9" * MAX_BYTES, "f.yaml: larger than 1048576")],
)
@pytest.mark.usefixtures("files")
def test_what_cannot_be_read_is_told(
    content: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("f.yaml").write_bytes(content)
    assert status("f.yaml") == 2
    assert capsys.readouterr().err.startswith(f"epp check-config: {told}")


@pytest.mark.usefixtures("files")
def test_a_config_map_is_looked_into(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(
        "kind: ConfigMap\ndata:\n  a.yaml: |\n    plugins:\n    - type: nope\n"
    )
    assert status("m.yaml") == 1
    assert capsys.readouterr().out.startswith("m.yaml:5:7: error: a.yaml: plugins[0].type: ")


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "EndpointPickerConfig"


def found_in(name: str) -> str:
    text = (BROKEN / f"{name}.yaml").read_text()
    checked = check(Part(text), f"{name}.yaml", REGISTRY, allow_experimental=False)
    assert checked.config is None
    return "".join(f"{finding}\n" for finding in checked.findings)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_told_as_it_was(name: str) -> None:
    assert found_in(name) == (BROKEN / f"{name}.txt").read_text()


def test_the_command_tells_of_all_broken_files_in_one_go() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "epp", "check-config", "--notes", *[f"{n}.yaml" for n in NAMES]],
        cwd=BROKEN,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "".join((BROKEN / f"{name}.txt").read_text() for name in NAMES)

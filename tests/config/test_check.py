from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epp.config.check import RIGHT, UNUSABLE, WRONG, check, parser, run
from epp.config.document import MAX_BYTES
from epp.config.findings import ConfigError, Severity
from epp.config.load import DEFAULT_CONFIG
from epp.config.manifest import Part, parts
from epp.core.plugin import REGISTRY
from tests.config.loading import NEW, OLD, load

GOOD = DEFAULT_CONFIG
BAD = OLD + "plugins:\n- type: queue-scorre\n- type: queue-scorer\n  name: 1\n"
WARNS = NEW + "plugins: [{type: queue-scorer}]\nfeatureGates: [dataLayer]\n"
CONFIG_MAP = (
    "kind: ConfigMap\ndata:\n  a.yaml: |\n    plugins:\n    - type: nope\n  b.yaml: |\n"
    + ("    plugins:\n    - type: queue-scorer\n")
)


class Files:
    """Runs the command on files of a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys

    def check(self, *options: str, **texts: str | bytes) -> tuple[int, str, str]:
        """The exit status, and what was said; folder names are left out of it."""
        names = []
        for name, text in texts.items():
            path = self._folder / f"{name}.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            names.append(str(path))
        status = run(parser().parse_args([*options, *names]), REGISTRY)
        said = self._capsys.readouterr()
        out, err = (text.replace(f"{self._folder}/", "") for text in (said.out, said.err))
        return status, out, err


@pytest.fixture
def files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capsys)


BAD_TEXT = (
    "bad.yaml:4:3: error: plugins[0].type: plugin type 'queue-scorre' is not found in registry; "
    "did you mean 'queue-scorer'? [unknown-type]\n"
    "bad.yaml:6:3: error: plugins[1].name: Expected `str | null`, got `int`: YAML reads yes, on "
    "and 12 as no text; put it in quotes [yaml-type]\n"
)


def test_a_right_file_says_nothing(files: Files) -> None:
    assert files.check(good=GOOD) == (RIGHT, "", "")


def test_a_wrong_file_says_what_is_wrong(files: Files) -> None:
    assert files.check(bad=BAD) == (WRONG, BAD_TEXT, "")


def test_every_file_is_looked_at(files: Files) -> None:
    status, out, _ = files.check(bad=BAD, good=GOOD, worse="a: ]")
    assert status == WRONG
    assert out.startswith(BAD_TEXT)
    assert out.splitlines()[2].startswith("worse.yaml:1:4: error: no YAML: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), (b"\xff", "is not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_worse_than_a_wrong_one(
    files: Files, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "none.yaml"
    if content:
        path.write_bytes(content)
    status, out, err = files.check(str(path), bad=BAD)
    assert (status, out) == (UNUSABLE, BAD_TEXT)
    assert err == f"epp check-config: none.yaml: {reason}\n"


def test_a_folder_cannot_be_read(files: Files, tmp_path: Path) -> None:
    status, _, err = files.check(str(tmp_path))
    assert status == UNUSABLE
    assert "Is a directory" in err


def test_a_file_has_to_be_named(files: Files) -> None:
    status, _, err = files.check()
    assert status == UNUSABLE
    assert "name a file" in err


def test_a_large_file_is_refused_without_reading_all_of_it(files: Files) -> None:
    status, out, _ = files.check(large=b"#" * (MAX_BYTES + 100))
    assert (status, out) == (
        WRONG,
        f"large.yaml:1:1: error: larger than {MAX_BYTES} bytes [too-large]\n",
    )


def test_a_large_file_is_too_large_even_where_it_is_cut_within_a_character(files: Files) -> None:
    status, out, _ = files.check(large=b"#" + b"\xc3\xa9" * MAX_BYTES)
    assert status == WRONG
    assert out.endswith("[too-large]\n")


def test_a_mark_of_byte_order_is_no_part_of_the_text(files: Files) -> None:
    assert files.check(good=b"\xef\xbb\xbf" + GOOD.encode()) == (RIGHT, "", "")


def test_notes_are_told_when_asked_for(files: Files) -> None:
    assert files.check("--notes", good=WARNS)[1].count(": note: ") > 0
    assert ": note: " not in files.check(good=WARNS)[1]


def test_a_warning_is_an_error_when_that_is_asked_for(files: Files) -> None:
    status, out, _ = files.check(warns=WARNS)
    assert (status, out) == (
        RIGHT,
        "warns.yaml:4:16: warning: featureGates[0]: is gone; the newer Go picker refuses it "
        "[removed-gate]\n",
    )
    assert files.check("--strict", warns=WARNS)[:2] == (WRONG, out)
    assert files.check("--strict", "--notes", good=GOOD)[0] == RIGHT


def test_findings_can_be_had_as_json(files: Files) -> None:
    status, out, _ = files.check("--format", "json", bad=BAD)
    assert status == WRONG
    first, second = json.loads(out)
    assert (first["line"], first["column"], first["severity"]) == (4, 3, "error")
    assert (first["place"], first["rule"]) == ("plugins[0].type", "unknown-type")
    assert second["file"].endswith("bad.yaml")
    assert json.loads(files.check("--format", "json", good=GOOD)[1]) == []


def test_findings_can_be_had_as_workflow_commands(files: Files) -> None:
    _, out, _ = files.check("--format", "github", bad=BAD)
    assert out.splitlines()[0] == (
        "::error file=bad.yaml,line=4,col=3,title=unknown-type::plugins[0].type: plugin type "
        "'queue-scorre' is not found in registry; did you mean 'queue-scorer'?"
    )
    assert len(out.splitlines()) == 2


def test_what_would_end_a_workflow_command_is_escaped(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "a,b:c%.yaml"
    path.write_text("'%0A::x': 1")
    _, out, _ = files.check("--format", "github", str(path))
    assert out.startswith(
        "::error file=a%2Cb%3Ac%25.yaml,line=1,col=1,title=unknown-key::%250A::x: "
    )


def test_a_config_map_holds_configurations(files: Files) -> None:
    status, out, _ = files.check("--explain", map=CONFIG_MAP)
    assert status == WRONG
    assert out.startswith(
        "map.yaml:5:7: error: a.yaml: plugins[0].type: plugin type 'nope' is not found in registry"
    )
    assert out.count("apiVersion") == 1


def test_effective_configurations_are_explained_and_load_again(files: Files) -> None:
    status, out, _ = files.check("--explain", good=GOOD, other=WARNS)
    assert status == RIGHT
    warning, _, explained = out.partition("\n")
    assert "removed-gate" in warning
    documents = list(yaml.safe_load_all(explained))
    assert [d["plugins"][0]["type"] for d in documents] == ["queue-scorer"] * 2
    for text in explained.split("---\n"):
        load(text)


def test_nothing_but_findings_is_printed_in_other_formats(files: Files) -> None:
    assert files.check("--explain", "--format", "github", good=GOOD) == (RIGHT, "", "")


def test_the_schema_can_be_had(files: Files) -> None:
    status, out, _ = files.check("--schema")
    assert status == RIGHT
    assert json.loads(out)["title"] == "EndpointPickerConfig"


@pytest.mark.parametrize("rule", ["nope", "../check", "a/b", "-"])
def test_a_rule_that_there_is_not_is_refused(files: Files, rule: str) -> None:
    status, _, err = files.check(f"--rule={rule}")
    assert status == UNUSABLE
    assert f"no rule '{rule}'" in err


def test_experimental_plugins_need_their_flag(files: Files) -> None:
    text = NEW + "plugins: [{type: session-affinity-scorer}]"
    assert files.check(alpha=text)[0] == WRONG
    assert files.check("--allow-experimental-plugins", alpha=text)[0] == RIGHT


def test_notes_and_warnings_of_loading_and_of_rules_are_in_the_order_of_the_file() -> None:
    text = OLD + "featureGates: [dataLayer]\nplugins: [{type: queue-scorer, parameters: {x: 1}}]\n"
    found = check(Part(text), "f", REGISTRY, allow_experimental=False).findings
    assert [f.rule for f in found if f.severity is Severity.WARNING] == [
        "removed-gate",
        "unknown-parameter",
    ]
    assert [f.line for f in found] == sorted(f.line for f in found)


@given(st.text() | st.text("kind: ConfigMapdata|plugins[]{}-\n "))
def test_whatever_loads_passes_the_check(text: str) -> None:
    for part in parts(text):
        checked = check(part, "f", REGISTRY, allow_experimental=False)
        try:
            load(part.text)
        except ConfigError:
            assert checked.config is None
        else:
            assert checked.config is not None

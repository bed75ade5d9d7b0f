from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from epp.config.load import load_config
from epp.core.plugin import REGISTRY
from epp.own.loading import load_own
from epp.own.new import NewPluginError, advice, check_name, main, write_plugin
from epp.own.templates import TEMPLATES
from tests.fakes import make_handle

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_what_is_written_for_each_role_passes_its_own_test(tmp_path: Path) -> None:
    for role in TEMPLATES:
        write_plugin(role, f"my-{role}", tmp_path, REGISTRY)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"{len(TEMPLATES)} passed" in ran.stdout


@pytest.mark.parametrize("role", TEMPLATES)
def test_what_is_written_can_be_loaded_and_configured(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"my-{role}"
    assert main([role, name, "--dir", str(tmp_path / "new")]) == 0
    catalogue = load_own([tmp_path / "new"], REGISTRY)
    assert name in catalogue
    told = capsys.readouterr().out
    config = told[told.index("apiVersion:") : told.index("Its row")]
    before = dict(REGISTRY)
    try:
        REGISTRY.update(catalogue)
        loaded = load_config(config, "example", make_handle())
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)
    assert list(loaded.findings) == []
    assert name in [plugin.type for plugin in loaded.plugins]
    assert f"| `{name}` |" in told


@pytest.mark.parametrize("role", TEMPLATES)
def test_what_is_written_is_short_and_in_form(role: str, tmp_path: Path) -> None:
    for path in write_plugin(role, "a-name-of-usual-length", tmp_path, REGISTRY):
        lines = path.read_text().splitlines()
        assert len(lines) <= 80
        assert max(map(len, lines)) <= 100
        assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("present", ["my_scorer.py", "test_my_scorer.py"])
def test_nothing_is_overwritten(
    present: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / present).write_text("mine")
    assert main(["scorer", "my-scorer", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"epp new-plugin: {tmp_path / present} is there already\n"
    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NewPluginError, match="file: "):
        write_plugin("scorer", "my-scorer", tmp_path / "file", REGISTRY)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is no name of words"),
        ("My-scorer", "is no name of words"),
        ("my_scorer", "is no name of words"),
        ("../my-scorer", "is no name of words"),
        ("my--scorer", "is no name of words"),
        ("1-scorer", "is no name of words"),
        ("my-scorer\n", "is no name of words"),
        ("a" * 64, "is no name of words"),
        ("queue-scorer", "there is a plugin type queue-scorer already"),
        ("random", "a file random.py would mean something else"),
        ("class", "a file class.py would mean something else"),
        ("test-scorer", "a file test_scorer.py would mean something else"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, reason: str) -> None:
    with pytest.raises(NewPluginError, match=reason):
        check_name(name, REGISTRY)


def test_advice_names_the_commands() -> None:
    told = advice("scorer", "my-scorer", Path("d/my_scorer.py"), Path("d/test_my_scorer.py"))
    assert "pytest d/test_my_scorer.py" in told
    assert "epp bench-plugin d/my_scorer.py" in told
    assert "--plugin-dir d " in told


def test_a_role_that_does_not_exist_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["scoring", "my-scorer"])
    assert "invalid choice" in capsys.readouterr().err

"""What the Dockerfile promises, as far as it can be read off; there is no engine in the tests."""

from __future__ import annotations

import json
import re
import tomllib

from hatchling.builders.wheel import WheelBuilder

from lab.process import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Instruction and arguments; continued lines are one.
STEPS: list[tuple[str, str]] = re.findall(
    r"^([A-Z]+) +(.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE
)


def last(instruction: str) -> str:
    """The arguments of the last instruction of this name: those that count."""
    return [arguments for name, arguments in STEPS if name == instruction][-1]


def test_the_arguments_of_a_container_are_the_flags_of_the_picker() -> None:
    (program,) = json.loads(last("ENTRYPOINT"))
    assert (
        program.rpartition("/")[2]
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    )
    assert "CMD" not in dict(STEPS)


def test_it_runs_as_a_user_that_kubernetes_can_see_is_not_root() -> None:
    assert last("USER") == "65532:65532"


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [
        source
        for name, arguments in STEPS
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    ]
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert copied
    assert set(copied) == set(kept)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_packages_come_with_hashes_and_images_from_no_registry_in_particular() -> None:
    installs = re.findall(r"pip [^&\n]*install [^&\n]*", DOCKERFILE)
    assert installs
    assert all(
        "--require-hashes" in install or "--no-deps dist/" in install for install in installs
    )
    assert not re.search(r"FROM\s+\S+\.\S+/", DOCKERFILE)


def test_the_wheel_has_every_module_and_every_page_of_a_rule() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    files = [*ROOT.glob("epp/**/*.py"), *ROOT.glob("epp/config/rules/*.md")]
    assert len(files) > 300
    assert {path.relative_to(ROOT).as_posix() for path in files} <= packed

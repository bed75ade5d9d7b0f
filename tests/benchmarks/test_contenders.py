from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import contenders
from benchmarks.contenders import PLACEHOLDERS, ContenderError, parse

VALUES = {
    "grpc_port": "1",
    "health_port": "2",
    "metrics_port": "3",
    "endpoints_file": "/tmp/e e.yaml",
    "config_file": "/tmp/c.yaml",
    "verbosity": "4",
}
ASKS = "{python} --grpc-port={grpc_port} --health={health_port}"


def test_placeholders_are_replaced_within_words_and_values_are_not_cut() -> None:
    picker = parse("other", ASKS + " --e {endpoints_file} '--x=a b' --json={\"a\":1}")
    assert picker.command(VALUES) == [
        sys.executable,
        "--grpc-port=1",
        "--health=2",
        "--e",
        "/tmp/e e.yaml",
        "--x=a b",
        "--json={a:1}",
    ]


def test_our_own_picker_is_a_command_line_like_any_other() -> None:
    command = contenders.ours(["--v=3"]).command(VALUES)
    assert command[:3] == [sys.executable, "-m", "epp"]
    assert command[-1] == "--v=3"
    assert not any("{" in word for word in command)


def test_an_unknown_placeholder_is_refused_with_all_that_exist() -> None:
    with pytest.raises(ContenderError) as caught:
        parse("other", ASKS + " {port}")
    assert "no {port}" in str(caught.value)
    assert all(f"{{{name}}}" in str(caught.value) for name in PLACEHOLDERS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("{python} 'open", "no command line"),
        ("{python} {grpc_port}", "lacks {health_port}"),
        ("{python} {health_port}", "lacks {grpc_port}"),
        (ASKS + " {kubeconfig}", "--kubeconfig FILE"),
        ("no-such-program {grpc_port} {health_port}", "no program 'no-such-program'"),
    ],
)
def test_what_cannot_be_started_is_refused(text: str, message: str) -> None:
    with pytest.raises(ContenderError, match=message.replace("{", r"\{")):
        parse("other", text)


def test_the_kubeconfig_is_handed_on_as_a_whole_path() -> None:
    picker = parse("other", ASKS + " {kubeconfig}", kubeconfig=Path("some/file"))
    assert picker.command(VALUES)[-1] == os.path.abspath("some/file")


def test_programs_are_looked_up_in_the_path() -> None:
    assert parse("other", "sh {grpc_port} {health_port}").words[0].endswith("/sh")


def test_verbosity_can_be_chosen_where_it_is_asked_for() -> None:
    assert contenders.ours().tells_verbosity
    assert not parse("other", ASKS).tells_verbosity

"""``epp check-config``: what is wrong in configurations, and what they amount to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from epp.config.document import MAX_BYTES
from epp.config.explain import explain
from epp.config.findings import ConfigError, Finding, Severity
from epp.config.hazards import hazards
from epp.config.jsonschema import json_schema
from epp.config.load import LoadedConfig, load_config
from epp.config.manifest import Part, parts
from epp.config.schema import KIND
from epp.core.clock import Clock
from epp.core.errors import StartError
from epp.core.plugin import Handle, PluginType
from epp.core.probe import Probe

RIGHT, WRONG, UNUSABLE = 0, 1, 2
STDIN = "-"

_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_RULES = files("epp.config") / "rules"


class Checked(NamedTuple):
    """One configuration: what was found, and the configuration where it can be used."""

    findings: Sequence[Finding]
    config: LoadedConfig | None


def run(options: argparse.Namespace, catalogue: Mapping[str, PluginType]) -> int:
    """Check the files that are named; 0: all can be used, 1: one cannot, 2: one cannot be read.

    ``options`` are those of ``parser``.
    """
    if options.schema:
        print_out(msgspec.json.format(msgspec.json.encode(json_schema(catalogue))).decode())
        return RIGHT
    if options.rule:
        return _show_rule(options.rule)
    if not options.files:
        sys.stderr.write("epp check-config: name a file, or - for the standard input\n")
        return UNUSABLE
    status = RIGHT
    checked: list[Checked] = []
    for name in options.files:
        try:
            checked += _check_file(name, options, catalogue)
        except StartError as error:
            sys.stderr.write(f"epp check-config: {error}\n")
            status = UNUSABLE
    found = [finding for one in checked for finding in one.findings]
    if not options.notes:
        found = [finding for finding in found if finding.severity is not Severity.NOTE]
    _report(found, options.format)
    if options.explain and options.format == "text":
        texts = [explain(one.config) for one in checked if one.config is not None]
        print_out("---\n".join(texts), end="")
    levels = {Severity.ERROR, Severity.WARNING} if options.strict else {Severity.ERROR}
    return status or (WRONG if any(f.severity in levels for f in found) else RIGHT)


def _check_file(
    name: str, options: argparse.Namespace, catalogue: Mapping[str, PluginType]
) -> list[Checked]:
    """The configurations in a file.

    Raises:
        StartError: it cannot be read.
    """
    text = _read(name)
    if options.skip_others and KIND not in text:
        return []
    shown = "<stdin>" if name == STDIN else name
    return [
        check(part, shown, catalogue, allow_experimental=options.allow_experimental_plugins)
        for part in parts(text)
    ]


def check(
    part: Part, name: str, catalogue: Mapping[str, PluginType], *, allow_experimental: bool
) -> Checked:
    """Everything that can be said about a configuration; never raises."""
    handle = Handle(Random(), Clock(), Probe())
    try:
        config = load_config(
            part.text, name, handle, catalogue=catalogue, allow_experimental=allow_experimental
        )
    except ConfigError as error:
        return Checked([part.placed(finding) for finding in error.findings], None)
    found = sorted([*config.findings, *hazards(config)], key=lambda f: (f.line, f.column))
    return Checked([part.placed(finding) for finding in found], config)


def print_out(text: str, end: str = "\n") -> None:
    """Write to the standard output."""
    sys.stdout.write(text + end)


def _report(found: Sequence[Finding], form: str) -> None:
    if form == "json":
        print_out(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for finding in found:
        print_out(_for_github(finding) if form == "github" else str(finding))


def _for_github(finding: Finding) -> str:
    """A workflow command; what would end it is escaped.

    Source: GitHub Actions, workflow commands.
    """
    place = f"{finding.place}: " if finding.place else ""
    text = f"{place}{finding.text}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = finding.file.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return (
        f"::{_GITHUB[finding.severity]} file={file},line={finding.line},col={finding.column},"
        f"title={finding.rule}::{text}"
    )


def _show_rule(rule: str) -> int:
    page = _RULES / f"{rule}.md"
    if not rule.replace("-", "").isalnum() or not page.is_file():
        known = sorted(p.name.removesuffix(".md") for p in _RULES.iterdir())
        sys.stderr.write(f"epp check-config: no rule {rule!r}; there are {', '.join(known)}\n")
        return UNUSABLE
    print_out(page.read_text(encoding="utf-8"), end="")
    return RIGHT


def _read(name: str) -> str:
    """The text of a file; more than a configuration may have is cut off one byte later.

    Raises:
        StartError: it cannot be read.
    """
    try:
        if name == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        # What is cut off may end within a character; as many characters as bytes are too many.
        return content.decode("latin-1" if len(content) > MAX_BYTES else "utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise StartError(f"{name}: {reason}") from None


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    said = argparse.ArgumentParser(
        prog="epp check-config",
        description="Tell what is wrong in EndpointPickerConfig files, and what they amount to. "
        "A file may be a ConfigMap that holds them.",
        epilog="Exit status: 0 all can be used, 1 one cannot, 2 one cannot be read.",
    )
    said.add_argument("files", nargs="*", metavar="FILE", help="a YAML or JSON file, - for stdin")
    said.add_argument(
        "--explain", action="store_true", help="print the effective configuration, with comments"
    )
    said.add_argument("--notes", action="store_true", help="tell what is merely worth knowing")
    said.add_argument("--strict", action="store_true", help="a warning is as bad as an error")
    said.add_argument("--format", choices=("text", "json", "github"), default="text")
    said.add_argument("--schema", action="store_true", help="print the JSON Schema for editors")
    said.add_argument("--rule", metavar="RULE", help="print the page of a rule")
    said.add_argument(
        "--skip-others", action="store_true", help=f"skip files in which no {KIND} is"
    )
    said.add_argument(
        "--plugin-dir", action="append", default=[], metavar="DIR", help="a folder of own plugins"
    )
    said.add_argument(
        "--allow-experimental-plugins", action="store_true", help="as the picker's flag"
    )
    return said

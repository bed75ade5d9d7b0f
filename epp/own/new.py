"""``epp new-plugin``: the files of a plugin to start from."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import epp.plugins
from epp.core.plugin import REGISTRY, PluginType
from epp.own.templates import PLUGIN, TEMPLATES, TEST, Template

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME = 63
_LINE = 100
_THRESHOLD = {
    "picker": "Percent of the best that do.",
    "pre-request": "Bytes that make a request long.",
}


class NewPluginError(Exception):
    """The files cannot be written; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Write the files and tell what to do with them; 1 if that cannot be done, 2 for misuse."""
    parser = argparse.ArgumentParser(
        prog="epp new-plugin", description="Write a plugin that works, and its test."
    )
    parser.add_argument("role", choices=TEMPLATES)
    parser.add_argument("name", help="the plugin's type, such as my-scorer")
    parser.add_argument("--dir", default=".", type=Path, help="folder to write to")
    given = parser.parse_args(arguments)
    epp.plugins.load()
    try:
        plugin, test = write_plugin(given.role, given.name, given.dir, REGISTRY)
    except NewPluginError as error:
        sys.stderr.write(f"epp new-plugin: {error}\n")
        return 1
    sys.stdout.write(advice(given.role, given.name, plugin, test))
    return 0


def write_plugin(
    role: str, name: str, folder: Path, catalogue: Mapping[str, PluginType]
) -> tuple[Path, Path]:
    """The plugin's file and its test's.

    Raises:
        NewPluginError: the name cannot be used, or one of the files is there already.
    """
    check_name(name, catalogue)
    module = name.replace("-", "_")
    files = {
        folder / f"{module}.py": plugin_text(role, name),
        folder / f"test_{module}.py": check_text(role, name),
    }
    for path in files:
        if path.exists():
            raise NewPluginError(f"{path} is there already")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise NewPluginError(f"{error.filename}: {error.strerror}") from None
    plugin, test = files
    return plugin, test


def check_name(name: str, catalogue: Mapping[str, PluginType]) -> None:
    """Whether a plugin may bear this name.

    Raises:
        NewPluginError: it may not.
    """
    module = name.replace("-", "_")
    taken = {n for declared in catalogue.values() for n in (declared.name, *declared.aliases)}
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise NewPluginError(f"{name!r} is no name of words such as my-scorer")
    if name in taken:
        raise NewPluginError(f"there is a plugin type {name} already")
    if module in sys.stdlib_module_names or keyword.iskeyword(module) or name.startswith("test-"):
        raise NewPluginError(f"a file {module}.py would mean something else to Python or pytest")


def plugin_text(role: str, name: str) -> str:
    """The plugin's file."""
    template = TEMPLATES[role]
    text = PLUGIN.format(
        type=name,
        cls=_class_name(name),
        base=template.base,
        does=template.does,
        summary=template.does[0].upper() + template.does[1:],
        tells=textwrap.fill(template.tells, _LINE, break_on_hyphens=False),
        threshold=_THRESHOLD.get(role, "Running requests that are many."),
        imports="\n".join(_imports(template)),
        body=template.body.replace("{type}", name),
    )
    if "self._random" in text:
        text = text.replace(
            "        self._threshold = params.threshold\n",
            "        self._threshold = params.threshold\n        self._random = handle.random\n",
        )
    return text


def check_text(role: str, name: str) -> str:
    """The test's file."""
    template, module = TEMPLATES[role], name.replace("-", "_")
    tried = template.test
    return TEST.format(
        cls=_class_name(name),
        module=module,
        test_file=f"test_{module}.py",
        test=tried,
        pytest="import pytest\n\n" if "pytest." in tried else "",
        decision=_imported("epp.core.decision", "SchedulingResult", tried),
        errors=_imported("epp.core.errors", "ResourceExhaustedError", tried),
        made="BUSY, " if "BUSY" in tried else "",
    )


def _imported(module: str, name: str, text: str) -> str:
    return f"from {module} import {name}\n" if name in text else ""


def advice(role: str, name: str, plugin: Path, test: Path) -> str:
    """What to do with the files: try, measure, configure, document."""
    template = TEMPLATES[role]
    profile = ""
    if template.is_in_profile:
        weight = "\n    weight: 1" if role == "scorer" else ""
        profile = (
            f"schedulingProfiles:\n- name: default\n  plugins:\n  - pluginRef: queue-scorer\n"
            f"  - pluginRef: {name}{weight}\n"
        )
    return f"""\
wrote {plugin}
wrote {test}

Try it:       pytest {test}
Measure it:   epp bench-plugin {plugin}
Use it:       epp --plugin-dir {plugin.parent} --config-file FILE ... with this in FILE:

apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: {name}
  parameters:
    threshold: 100
{profile}
Its row for a README, under "{template.heading}":

| `{name}` | {template.does} | `threshold` 100 | Beta |
"""


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _imports(template: Template) -> Iterator[str]:
    """The imports in the order that linters want."""
    names = ["Iterable" if "Iterable[" in template.body else "Sequence"]
    yield f"from collections.abc import {', '.join(names)}"
    yield f"from typing import Annotated{', Any' if '[Any]' in template.body else ''}"
    yield ""
    yield "from msgspec import Meta"
    yield ""
    core = {"Handle", "Params", "Stability", "plugin", template.base}
    lines = []
    for line in template.imports.splitlines():
        if line.startswith("from epp.core.plugin import "):
            core.add(line.rsplit(" ", 1)[1])
        else:
            lines.append(line)
    # Classes before functions.
    ordered = sorted(core, key=lambda name: (name.islower(), name))
    lines.append(f"from epp.core.plugin import {', '.join(ordered)}")
    yield from sorted(lines)

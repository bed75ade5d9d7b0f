"""Fuzzing the configuration loader: mutated examples, and files made to hurt.

Laws: a file is loaded or refused with findings that name a place; nothing else is raised; one that
is loaded can be explained, and what that says loads again and amounts to the same; memory stays
bounded. A file that breaks a law is printed with its seed.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import sys
import time
from pathlib import Path
from random import Random
from types import FrameType

import epp.plugins
from epp.config.check import check
from epp.config.explain import explain
from epp.config.load import DEFAULT_CONFIG
from epp.config.manifest import parts
from epp.config.schema import NEW_GROUP, OLD_GROUP
from epp.core.plugin import REGISTRY

ROOT = Path(__file__).parents[1]
MAX_MEMORY_BYTES = 200 * 1024 * 1024
HANG_SECONDS = 20

WORDS = (
    *("null", "~", "true", "yes", "on", "12", "-1", "0.5", "1e400", ".nan", ".inf", "''", "'2'"),
    *(
        "[]",
        "{}",
        "[1]",
        "{a: 1}",
        "- x",
        "&a",
        "*a",
        "<<: *a",
        "!!binary zz",
        "!!int ''",
        "|",
        ">",
    ),
    *("5ms", "-5s", "1Gi", "-1Gi", "0x10", "1_000", "190:20:30", "2001-01-01", "\u2028", "\ud7ff"),
    *("plugins:", "- type: queue-scorer", "pluginRef: queue-scorer", "weight: 2", "parameters:"),
    *("apiVersion: llm-d.ai/v1alpha1", "name: x", "kind: Pod", "featureGates: [flowControl]"),
    *("---", "# comment", "\t", "  ", ":", "\x00", "9" * 200, "a" * 5000),
)
NUMBERS = ("0", "1", "2", "0.5", "-1", "7", "100000", "null")


class FuzzError(Exception):
    """A law does not hold."""


def seeds() -> list[str]:
    """The configurations to start from: the default, the README's examples, those of the tests."""
    readme = (ROOT / "epp" / "plugins" / "README.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    files = [path.read_text() for path in sorted((ROOT / "tests/config/examples").glob("*.yaml"))]
    return [DEFAULT_CONFIG, *examples, *files]


def bombs() -> list[str]:
    """Files that are small and would be large, or are large at once."""
    doubling = "".join(f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}]\n" for i in range(1, 40))
    merging = "".join(
        f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}], k{i}: 1}}\n" for i in range(1, 40)
    )
    return [
        f"x0: &x0 [1, 1]\n{doubling}",
        f"m0: &m0 {{a: 1}}\n{merging}",
        "plugins:\n" + "- type: queue-scorer\n" * 500_000,
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 200_000,
        "a: " + "x" * (10 * 1024 * 1024),
        "plugins: [" + "{type: queue-scorer, name: n}," * 30_000 + "]",
        "kind: ConfigMap\ndata:\n" + "  k: |\n    plugins: []\n" * 20_000,
    ]


def mutate(text: str, random: Random) -> str:
    """One to six changes; half of the files get only such that may leave them right."""
    change = _change_gently if random.random() < 0.5 else _change
    for _ in range(random.randint(1, 6)):
        text = change(text, random)
    return text


def _change_gently(text: str, random: Random) -> str:
    return random.choice(_GENTLE)(text, random)


def _other_group(text: str, _random: Random) -> str:
    return (
        text.replace(OLD_GROUP, NEW_GROUP)
        if OLD_GROUP in text
        else text.replace(NEW_GROUP, OLD_GROUP)
    )


def _other_number(text: str, random: Random) -> str:
    found = list(re.finditer(r"(?<=: )-?[0-9.]+\b", text))
    if not found:
        return text
    at, number = random.choice(found), random.choice(NUMBERS)
    return text[: at.start()] + number + text[at.end() :]


def _other_name(text: str, random: Random) -> str:
    names = re.findall(r"name: ([a-z-]+)", text)
    if not names:
        return text
    name = re.escape(random.choice(names))
    return re.sub(rf"((?:name|pluginRef): ){name}\b", r"\1renamed", text)


def _without_a_leaf(text: str, random: Random) -> str:
    lines = text.split("\n")
    leaves = [i for i, line in enumerate(lines) if re.match(r"\s+\w+: \S", line)]
    if leaves:
        del lines[random.choice(leaves)]
    return "\n".join(lines)


def _another_plugin(text: str, random: Random) -> str:
    return text.replace("plugins:\n", f"plugins:\n- type: {random.choice(sorted(REGISTRY))}\n", 1)


def _other_order(text: str, random: Random) -> str:
    lines = text.split("\n")
    references = [i for i, line in enumerate(lines) if "- pluginRef:" in line]
    if len(references) > 1:
        one, other = random.sample(references, 2)
        lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


_GENTLE = (_other_group, _other_number, _other_name, _without_a_leaf, _another_plugin, _other_order)


def _change(text: str, random: Random) -> str:
    """Anything: of lines, words, characters, indentation."""
    lines = text.split("\n")
    at = random.randrange(len(lines))
    match random.randrange(9):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, random.choice(lines))
        case 2:
            lines.insert(at, " " * random.randrange(8) + random.choice(WORDS))
        case 3:
            key, colon, _ = lines[at].partition(":")
            lines[at] = f"{key}{colon} {random.choice(WORDS)}"
        case 4:
            lines[at] = " " * random.randrange(6) + lines[at].lstrip()
        case 5:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 6 if lines[at]:
            where = random.randrange(len(lines[at]))
            letter = chr(random.choice((random.randrange(32, 127), random.randrange(0x2FFF))))
            lines[at] = lines[at][:where] + letter + lines[at][where + 1 :]
        case 7 if lines[at]:
            where = random.randrange(len(lines[at]))
            lines[at] = lines[at][:where] + lines[at][where + 1 :]
        case _:
            words = lines[at].split(" ")
            words[random.randrange(len(words))] = random.choice(WORDS)
            lines[at] = " ".join(words)
    return "\n".join(lines) or "\n"


def try_file(text: str) -> bool:
    """Whether the file could be loaded.

    Raises:
        FuzzError: a law does not hold.
    """
    is_loaded = False
    for part in parts(text):
        checked = check(part, "f.yaml", REGISTRY, allow_experimental=True)
        if checked.config is None:
            if not any(f.severity == "error" and f.line > 0 and f.rule for f in checked.findings):
                raise FuzzError("refused without a reason")
            continue
        is_loaded = True
        said = explain(checked.config)
        again = check(parts(said)[0], "f.yaml", REGISTRY, allow_experimental=True)
        if again.config is None:
            raise FuzzError(f"what it amounts to does not load: {again.findings}\n{said}")
        if explain(again.config, comments=False) != explain(checked.config, comments=False):
            raise FuzzError(f"what it amounts to means something else:\n{said}")
    return is_loaded


def campaign(seed: int, *, files: int, seconds: float) -> tuple[int, int]:
    """How many files were tried, and how many of them could be loaded.

    Raises:
        FuzzError: a law does not hold; the text says for which file.
    """
    epp.plugins.load()
    starts = seeds()
    for text in [*starts, *bombs()]:
        _watched(text, "as it is")
    memory = _memory()
    loaded = 0
    until = time.monotonic() + seconds
    for i in range(files):
        random = Random(f"{seed}/{i}")
        text = mutate(random.choice(starts), random)
        loaded += _watched(text, f"seed {seed}/{i}")
        if i % 100 == 0 and time.monotonic() > until:
            return i + 1, loaded
    if _memory() > max(memory, MAX_MEMORY_BYTES):
        raise FuzzError(f"memory grew to {_memory() >> 20} MiB")
    return files, loaded


def _watched(text: str, name: str) -> bool:
    signal.alarm(HANG_SECONDS)
    try:
        return try_file(text)
    except Exception as error:
        shown = text if len(text) < 20_000 else f"{text[:2000]}..."
        raise FuzzError(f"{name}: {type(error).__name__}: {error}\n{shown}") from error
    finally:
        signal.alarm(0)


def _memory() -> int:
    """The most that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _hangs(_number: int, _frame: FrameType | None) -> None:
    raise FuzzError(f"no answer within {HANG_SECONDS} s")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.fuzz_config", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _hangs)
    try:
        tried, loaded = campaign(arguments.seed, files=arguments.files, seconds=arguments.seconds)
    except FuzzError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{tried} files, {loaded} of them could be loaded, {_memory() >> 20} MiB: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())

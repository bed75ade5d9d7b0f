"""Fuzzing the configuration loader: mutated examples, and files made to hurt.

Laws: a file is loaded or refused with findings that name a place in it; nothing else is raised; one
that is loaded can be explained, and what that says loads again and amounts to the same; loaded once
more over itself, no plugin is made anew; memory stays bounded. A file that breaks a law is printed
with its seed.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

import epp.plugins
from epp.config.check import check
from epp.config.explain import explain, parameters
from epp.config.load import DEFAULT_CONFIG, LoadedConfig, load_config
from epp.config.manifest import Part, parts
from epp.core.clock import Clock
from epp.core.plugin import REGISTRY, Handle
from epp.core.probe import Probe
from lab.config_mutations import mutate

ROOT = Path(__file__).parents[1]
MAX_MEMORY_BYTES = 200 * 1024 * 1024
HANG_SECONDS = 20


class FuzzError(Exception):
    """A law does not hold."""


class _Hang(BaseException):
    """A file takes too long; nobody catches this on its way."""


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
        "kind: ConfigMap\ndata:\n" + "  k: |\n    plugins: [{type: x}]\n" * 20_000,
    ]


def try_file(text: str) -> bool:
    """Whether a configuration in the file could be loaded.

    Raises:
        FuzzError: a law does not hold.
    """
    # Bytes are counted by nobody here; what YAML breaks lines at, Python does too.
    lines = len(text.splitlines()) + 1
    is_loaded = False
    for part in parts(text):
        checked = check(part, "f.yaml", REGISTRY, allow_experimental=True)
        for finding in checked.findings:
            if not (1 <= finding.line <= lines and finding.column >= 1 and finding.rule):
                raise FuzzError(f"in a file of {lines} lines: {finding}")
        if checked.config is None:
            if not any(finding.severity == "error" for finding in checked.findings):
                raise FuzzError("refused without a reason")
            continue
        is_loaded = True
        _means_what_it_says(checked.config)
        _goes_on(part, checked.config)
    return is_loaded


def _means_what_it_says(config: LoadedConfig) -> None:
    said = explain(config)
    again = check(parts(said)[0], "f.yaml", REGISTRY, allow_experimental=True).config
    if again is None:
        found = check(parts(said)[0], "f.yaml", REGISTRY, allow_experimental=True).findings
        raise FuzzError(f"what it amounts to does not load: {found}\n{said}")
    if _meaning(again) != _meaning(config):
        raise FuzzError(f"what it amounts to means something else:\n{said}")


def _meaning(config: LoadedConfig) -> object:
    """What a configuration does, for comparing."""
    return (
        explain(config, comments=False),
        [(name, e.declared.name, parameters(e.params)) for name, e in config.entries.items()],
        [(p.name, [(u.plugin.name, u.weight) for u in p.uses]) for p in config.profiles],
        [type(parser) for parser in config.parsers],
        [producer.name for producer in config.producers],
        config.gates,
    )


def _goes_on(part: Part, config: LoadedConfig) -> None:
    again = load_config(
        part.text,
        "f.yaml",
        Handle(Random(), Clock(), Probe()),
        allow_experimental=True,
        before=config,
    )
    anew = [n for n, e in again.entries.items() if e.plugin is not config.entries[n].plugin]
    if anew:
        raise FuzzError(f"made anew, though nothing changed: {', '.join(anew)}")


def campaign(
    seed: int, *, files: int, seconds: float = 3600.0, attempt: Callable[[str], bool] = try_file
) -> tuple[int, int]:
    """How many files were tried, and how many of them could be loaded.

    Raises:
        FuzzError: a law does not hold; the text says for which file.
    """
    epp.plugins.load()
    starts = seeds()
    for text in [*starts, *bombs()]:
        _watched(attempt, text, "as it is")
    memory = _memory()
    loaded = 0
    until = time.monotonic() + seconds
    for i in range(files):
        loaded += _watched(attempt, changed(seed, i, starts), f"seed {seed}/{i}")
        if time.monotonic() > until:
            files = i + 1
            break
    if _memory() > max(memory, MAX_MEMORY_BYTES):
        raise FuzzError(f"memory grew to {_memory() >> 20} MiB")
    return files, loaded


def changed(seed: int, number: int, starts: list[str]) -> str:
    """The file of this number in the campaign of this seed."""
    random = Random(f"{seed}/{number}")
    return mutate(random.choice(starts), random, REGISTRY)


def _watched(attempt: Callable[[str], bool], text: str, name: str) -> bool:
    try:
        with _alarm():
            return attempt(text)
    except (Exception, _Hang) as error:
        shown = text if len(text) < 20_000 else f"{text[:2000]}..."
        raise FuzzError(f"{name}: {type(error).__name__}: {error}\n{shown}") from error


@contextmanager
def _alarm() -> Iterator[None]:
    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise _Hang(f"no answer within {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _memory() -> int:
    """The most that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.fuzz_config", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        tried, loaded = campaign(arguments.seed, files=arguments.files, seconds=arguments.seconds)
    except FuzzError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{tried} files, {loaded} of them could be loaded, {_memory() >> 20} MiB: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The pickers that are measured: each is a command line with placeholders.

Nothing else is known of a picker than that it serves ext_proc over TLS on ``{grpc_port}`` and the
plaintext gRPC health service on ``{health_port}``, and picks among the given endpoints. One that
reads its endpoints from a cluster is started by a script that makes the cluster from
``{endpoints_file}``; the CPU time of everything in the script's session counts.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from lab.endpoints import LabEndpoint, write_endpoints
from lab.picker import PickerPorts
from lab.process import ROOT, Process

PLACEHOLDERS = {
    "python": "the Python that runs the benchmark",
    "grpc_port": "where Envoy asks over TLS; needed",
    "health_port": "where the gRPC health service answers in plaintext; needed",
    "metrics_port": "a free port for the picker's own metrics",
    "endpoints_file": "the endpoints, as `epp --endpoints-file` reads them",
    "config_file": "the EndpointPickerConfig, the same for all",
    "kubeconfig": "the FILE of --kubeconfig",
    "verbosity": "1, or 4 in the case that says so, which is left out without it",
}
"""What a command line may have in braces."""

CONFIG_FILE = ROOT / "config" / "picker" / "default-plugins.yaml"

_OURS = (
    "{python} -m epp --grpc-port={grpc_port} --grpc-health-port={health_port} --v={verbosity} "
    "--metrics-port={metrics_port} --endpoints-file={endpoints_file} --config-file={config_file} "
    "--drain-delay=0s"
)
_NEEDED = ("grpc_port", "health_port")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class ContenderError(Exception):
    """The command line cannot be used; the text says what to change."""


class Contender(msgspec.Struct, frozen=True):
    """A picker that can be started: its command line, cut into words."""

    name: str
    words: tuple[str, ...]
    kubeconfig: str = ""

    @property
    def tells_verbosity(self) -> bool:
        """Whether how much it logs can be chosen."""
        return any("{verbosity}" in word for word in self.words)

    def command(self, values: Mapping[str, str]) -> list[str]:
        """The command line with these values, and those known anyway, in its placeholders."""
        known = {"python": sys.executable, "kubeconfig": self.kubeconfig, **values}
        return [_PLACEHOLDER.sub(lambda match: known[match[1]], word) for word in self.words]


def ours(flags: Sequence[str] = ()) -> Contender:
    """This repository's picker; later ``flags`` win."""
    return Contender("epp", (*_OURS.split(), *flags))


def parse(name: str, text: str, *, kubeconfig: Path | None = None) -> Contender:
    """A picker by its command line.

    Raises:
        ContenderError: it has unknown placeholders, lacks one, or names no program.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ContenderError(f"{text!r} is no command line: {error}") from None
    if not words:
        raise ContenderError("the command line is empty")
    used = {match[1] for word in words for match in _PLACEHOLDER.finditer(word)}
    if unknown := sorted(used - PLACEHOLDERS.keys()):
        known = "\n".join(f"  {{{key}}}: {meaning}" for key, meaning in PLACEHOLDERS.items())
        raise ContenderError(f"there is no {{{unknown[0]}}}; the placeholders are\n{known}")
    if missing := [key for key in _NEEDED if key not in used]:
        raise ContenderError(f"the command line lacks {{{missing[0]}}}: {PLACEHOLDERS[missing[0]]}")
    if "kubeconfig" in used and kubeconfig is None:
        raise ContenderError("{kubeconfig} needs the option --kubeconfig FILE")
    if words[0] != "{python}":
        program = shutil.which(words[0])
        if program is None:
            raise ContenderError(f"there is no program {words[0]!r}")
        words[0] = str(Path(program).absolute())
    return Contender(name, tuple(words), str(kubeconfig.absolute()) if kubeconfig else "")


@contextlib.contextmanager
def started(
    contender: Contender,
    directory: Path,
    endpoints: Sequence[LabEndpoint],
    ports: PickerPorts,
    *,
    verbosity: int = 1,
    config_file: Path = CONFIG_FILE,
) -> Iterator[Process]:
    """Start the picker and hand it over at once, ready or not."""
    endpoints_file = directory / f"endpoints-{ports.grpc}.yaml"
    write_endpoints(endpoints_file, endpoints)
    command = contender.command(
        {
            "grpc_port": str(ports.grpc),
            "health_port": str(ports.health),
            "metrics_port": str(ports.metrics),
            "endpoints_file": str(endpoints_file),
            "config_file": str(config_file.absolute()),
            "verbosity": str(verbosity),
        }
    )
    log = directory / f"{contender.name}-{ports.grpc}.log"
    with Process(contender.name, command, log=log) as process:
        yield process

"""Other people's test tools against our gRPC server: ``python -m lab.conformance h2spec interop``.

The tools are Go programs: those that are not in ``build/bin`` are built with ``go install``. Exits
with 1 when a test failed, and with 3 when a tool is not there and cannot be built.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab.ports import free_port
from lab.process import ROOT, ProcessError, running

BIN = ROOT / "build" / "bin"
H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
INTEROP = "google.golang.org/grpc/interop/client@v1.85.0"
INTEROP_CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
)
_SUMMARY = re.compile(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")
_BUILD_SECONDS = 600
_RUN_SECONDS = 120


class MissingToolError(Exception):
    """A tool is not there and cannot be built."""


def tool(name: str, module: str) -> Path:
    """The path of a tool, built when it is not there yet.

    Raises:
        MissingToolError: there is no Go, or the build failed.
    """
    path = BIN / name
    if path.exists():
        return path
    go = shutil.which("go")
    if go is None:
        raise MissingToolError(f"{path} is not there, and there is no 'go' to build it with")
    print(f"building {name}: go install {module}", flush=True)
    built = subprocess.run(
        [go, "install", module],
        env={**os.environ, "GOBIN": str(BIN)},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
    )
    if built.returncode != 0:
        raise MissingToolError(f"go install {module} failed:\n{built.stderr.strip()}")
    return path


def run_h2spec(directory: Path) -> bool:
    """Every test of h2spec, plain and with TLS; whether all passed."""
    program = tool("h2spec", H2SPEC)
    good = True
    for flags in ([], ["-t", "-k"]):
        with server(directory, tls=bool(flags)) as port:
            _, output = _run([program, "-h", "127.0.0.1", "-p", str(port), *flags])
        summary = _SUMMARY.search(output)
        total, passed = (int(summary[1]), int(summary[2])) if summary else (0, 0)
        print(f"h2spec, {'TLS' if flags else 'plain'}: {passed} of {total} tests passed")
        if not total or passed != total:
            print(output)
            good = False
    return good


def run_interop(directory: Path) -> bool:
    """The interoperability cases with grpc-go's client; whether all passed."""
    program = tool("client", INTEROP)
    passed = 0
    with server(directory, tls=False) as port:
        for case in INTEROP_CASES:
            flags = ["-server_host=127.0.0.1", f"-server_port={port}", f"-test_case={case}"]
            code, output = _run([program, *flags, "-use_tls=false"])
            passed += code == 0
            if code:
                print(f"{case}:\n{output}")
    print(f"grpc-go interop client: {passed} of {len(INTEROP_CASES)} cases passed")
    return passed == len(INTEROP_CASES)


@contextlib.contextmanager
def server(directory: Path, *, tls: bool) -> Iterator[int]:
    """A server of ours in a process of its own; its port."""
    port = free_port()
    command = [sys.executable, "-m", "lab.grpc_server", "--port", str(port)]
    with running(
        "gRPC server",
        [*command, "--tls"] if tls else command,
        log=directory / f"server-{port}.log",
        ready=lambda: _accepts(port),
    ):
        yield port


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def _run(command: list[str | Path]) -> tuple[int, str]:
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_RUN_SECONDS,
    )
    return done.returncode, done.stdout


TOOLS = {"h2spec": run_h2spec, "interop": run_interop}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.conformance", description=__doc__)
    parser.add_argument("tools", nargs="+", choices=sorted(TOOLS))
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="epp-conformance-") as directory:
        for name in arguments.tools:
            try:
                good = TOOLS[name](Path(directory)) and good
            except MissingToolError as error:
                print(f"{name}: not run: {error}", file=sys.stderr)
                return 3
            except (ProcessError, subprocess.TimeoutExpired) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

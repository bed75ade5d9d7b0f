"""The last figures, kept beside the code: ``kept.json``, and the tables in the README."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import table
from benchmarks.figures import Report

KEPT = Path(__file__).with_name("kept.json")
README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- figures: python -m benchmarks --keep -->", "<!-- end of figures -->"


def keep(report: Report) -> None:
    """Write both.

    Raises:
        ValueError: the README has lost its markers.
    """
    KEPT.write_bytes(encode(report))
    README.write_text(with_figures(README.read_text(), report))


def encode(figures: msgspec.Struct) -> bytes:
    """Figures as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"


def with_figures(text: str, report: Report) -> str:
    """The README with this report between its markers.

    Raises:
        ValueError: there are no markers.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the README lacks {_BEGIN} or {_END}")
    parts = [table.costs(report).markdown(), table.service(report).markdown()]
    parts += [table.caption(report).replace("\n", "\n\n")]
    return f"{before}{begin}\n\n" + "\n\n".join(parts) + f"\n\n{end}{after}"

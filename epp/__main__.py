"""``python -m epp``."""

from __future__ import annotations

import sys

from epp.cli import main as command_line


def main() -> None:
    """The console script."""
    sys.exit(command_line())


if __name__ == "__main__":
    main()

"""``python -m epp``."""

from __future__ import annotations

import os
import sys

# numpy is used for integers only: its threads for matrices would be started for nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from epp.cli import main as command_line


def main() -> None:
    """The console script."""
    sys.exit(command_line())


if __name__ == "__main__":
    main()

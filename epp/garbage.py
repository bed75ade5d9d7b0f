"""The garbage collector's settings."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 100)


def settle() -> None:
    """TBD."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

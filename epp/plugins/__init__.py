"""One file per plugin type; README.md is the table that users read."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every plugin module below this folder, in name order, so that it registers itself."""
    modules = pkgutil.walk_packages(__path__, prefix=f"{__name__}.")
    for module in sorted(module.name for module in modules):
        importlib.import_module(module)

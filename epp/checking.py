"""``epp check-config``: the checks of ``config.check``, with the user's own plugins."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import epp.plugins
from epp.config import check
from epp.core.plugin import REGISTRY
from epp.own.loading import OwnPluginError, load_own


def main(arguments: Sequence[str]) -> int:
    """Check the files that are named; see ``config.check.run``."""
    options = check.parser().parse_args(arguments)
    epp.plugins.load()
    try:
        catalogue = load_own(options.plugin_dir, REGISTRY)
    except OwnPluginError as error:
        sys.stderr.writelines(f"epp check-config: {problem}\n" for problem in error.problems)
        return check.UNUSABLE
    return check.run(options, catalogue)

"""What the configurations that the two upstream releases ship amount to here.

``examples/NAME.yaml`` has the facts of a shipped file, ``examples/effective/NAME.txt`` what it
amounts to, or why it is refused. After a change that is meant, write the texts anew with
``UPDATE_EXAMPLES=1 pytest tests/config/test_examples.py`` and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import epp.plugins
from epp.config.check import check
from epp.config.explain import explain
from epp.config.manifest import Part
from epp.core.plugin import REGISTRY

epp.plugins.load()

FOLDER = Path(__file__).parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
REFUSED = {
    "chart-latency-predictor",
    "deploy-burst-prefix-cache",
    "deploy-mm-embeddings-cache",
    "deploy-precise-prefix-cache",
    "deploy-sim-kvcache",
    "deploy-sim-no-hit-lru",
    "deploy-sim-program-aware",
    "deploy-soft-reflective-ceiling",
    "perf-precise-prefix",
}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_amounts_to_what_it_did(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    checked = check(Part(text), name, REGISTRY, allow_experimental=True)
    told = "".join(f"{finding}\n" for finding in checked.findings if finding.severity != "note")
    if checked.config is not None:
        told += explain(checked.config, comments=False)
    kept = FOLDER / "effective" / f"{name}.txt"
    if os.environ.get("UPDATE_EXAMPLES"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(told)
    assert told == kept.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_only_what_this_version_lacks_is_refused(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    checked = check(Part(text), name, REGISTRY, allow_experimental=True)
    assert (checked.config is None) == (name in REFUSED)

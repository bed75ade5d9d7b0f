"""API servers for tests; where there is none to be had, the test is skipped and says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.apiserver import Cluster, missing, run_cluster
from lab.process import ROOT

CONFIG = ROOT / "config"
# Where the CustomResourceDefinitions are that other projects publish, one folder per release.
PUBLISHED = "PUBLISHED_CRDS"


@contextmanager
def started_cluster(directory: Path) -> Iterator[Cluster]:
    """An API server with nothing in it."""
    if problem := missing():
        pytest.skip(problem)
    with run_cluster(directory) as cluster:
        yield cluster


@contextmanager
def cluster_with_crds(directory: Path) -> Iterator[Cluster]:
    """An API server that knows the kinds of ``config/crd``."""
    with started_cluster(directory) as cluster:
        cluster.kubectl("apply", "-k", str(CONFIG / "crd"))
        wait_for_crds(cluster)
        yield cluster


def published_crds(release: str) -> Path:
    """The folder of one release."""
    folder = os.environ.get(PUBLISHED)
    if not folder:
        pytest.skip(f"${PUBLISHED} is not set: nothing to compare our CRDs with")
    return Path(folder) / release


def wait_for_crds(cluster: Cluster) -> None:
    """Block until every CustomResourceDefinition is served."""
    cluster.kubectl("wait", "--for=condition=established", "--timeout=60s", "crd", "--all")

"""Endpoints out of a file, as flags or configuration name it; there is no cluster then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from epp.core.errors import StartError
from epp.datastore.store import Datastore, Pool
from epp.discovery.file import EndpointsFileError, follow, read_endpoints
from epp.flags.options import Options
from epp.plugins.discovery.file import FileDiscovery
from epp.telemetry import logs

# Differs: without a cluster there is no InferencePool that the flag could name.
DEFAULT_POOL_NAME = "default"

logger = logging.getLogger("setup")


class Place(msgspec.Struct, frozen=True):
    """A file that lists endpoints, and whether to look at it again."""

    path: Path
    is_watched: bool


class FileSource:
    """Endpoints listed in a file.

    Raises:
        StartError: the file cannot be used.
    """

    def __init__(self, place: Place, pool: Pool, datastore: Datastore, metrics_port: int) -> None:
        self._place = place
        self._datastore = datastore
        self._metrics_port = metrics_port
        self._has_told_of_nodes = False
        try:
            endpoints = read_endpoints(place.path, metrics_port)
        except EndpointsFileError as error:
            raise StartError(str(error)) from None
        datastore.set_endpoints(endpoints)
        datastore.set_pool(pool)

    async def open(self) -> None:
        """The file was read when this was made."""

    def elector(self) -> None:
        """Without a cluster there is no Lease."""

    def authorize(self) -> None:
        """Without a cluster nobody can be asked: everybody may read."""

    def label_by_nodes(self, names: Mapping[str, str]) -> None:
        """Without a cluster there are no nodes: endpoints have the labels that the file gives."""
        if names and not self._has_told_of_nodes:
            self._has_told_of_nodes = True
            logs.warn(logger, "topology-extractor has no effect without a cluster")

    async def run(self) -> None:
        """Follow the file until cancelled."""
        if not self._place.is_watched:
            return

        def complain(problem: str) -> None:
            logs.error(logger, "Keeping the last good endpoints", error=problem)

        await follow(self._place.path, self._datastore, complain, metrics_port=self._metrics_port)


def place_of(options: Options, discovery: object) -> Place | None:
    """The file that flags or configuration name; None means the cluster."""
    if options.endpoints_file:
        return Place(Path(options.endpoints_file), is_watched=True)
    if isinstance(discovery, FileDiscovery):
        return Place(Path(discovery.path), discovery.watch_file)
    return None


def file_source(options: Options, place: Place, datastore: Datastore) -> FileSource:
    """Endpoints from a file.

    Raises:
        StartError: the file cannot be used.
    """
    name = options.pool_name or DEFAULT_POOL_NAME
    pool = Pool(name=name, namespace=options.pool_namespace)
    return FileSource(place, pool, datastore, options.model_server_metrics_port)

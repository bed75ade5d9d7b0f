"""Where the endpoints come from: a file, an InferencePool, or pods without one.

Source: llm-d-router v0.10, cmd/epp/runner and pkg/epp/server, for which flags mean what.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from random import Random

import msgspec

from epp.core.clock import Clock
from epp.core.errors import StartError
from epp.core.selector import Selector, SelectorError
from epp.datastore.store import Datastore, Pool
from epp.discovery.cluster import ClusterWatch
from epp.discovery.file import EndpointsFileError, follow, read_endpoints
from epp.discovery.pool import PoolIdentity, PoolView
from epp.discovery.readings import Membership
from epp.flags.options import Options
from epp.kube.client import KubeClient
from epp.kube.credentials import CredentialsError, find_loader
from epp.plugins.discovery.file import FileDiscovery
from epp.telemetry import logs

# Differs: without a cluster there is no InferencePool that the flag could name.
DEFAULT_POOL_NAME = "default"
_POD_OF_DEPLOYMENT = re.compile(r"(.+)-[a-z0-9]+-[a-z0-9]+")

logger = logging.getLogger("setup")


class Place(msgspec.Struct, frozen=True):
    """A file that lists endpoints, and whether to look at it again."""

    path: Path
    is_watched: bool


class FileSource:
    """Endpoints listed in a file; there is no cluster.

    Raises:
        StartError: the file cannot be used.
    """

    def __init__(self, place: Place, pool: Pool, datastore: Datastore, metrics_port: int) -> None:
        self._place = place
        self._datastore = datastore
        self._metrics_port = metrics_port
        try:
            endpoints = read_endpoints(place.path, metrics_port)
        except EndpointsFileError as error:
            raise StartError(str(error)) from None
        datastore.set_endpoints(endpoints)
        datastore.set_pool(pool)

    async def run(self) -> None:
        """Follow the file until cancelled."""
        if not self._place.is_watched:
            return

        def complain(problem: str) -> None:
            logs.error(logger, "Keeping the last good endpoints", error=problem)

        await follow(self._place.path, self._datastore, complain, metrics_port=self._metrics_port)


class ClusterSource:
    """Pods of a cluster; ``client`` may be used for other questions to it."""

    def __init__(self, client: KubeClient, watch: ClusterWatch, pool: PoolIdentity) -> None:
        self.client = client
        self.pool = pool
        self._watch = watch

    async def open(self) -> None:
        """Load the credentials.

        Raises:
            StartError: there are none that can be used.
        """
        try:
            await self.client.open()
        except CredentialsError as error:
            raise StartError(f"Failed to get Kubernetes rest config: {error}") from None

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._watch.run()


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


def cluster_source(
    options: Options,
    datastore: Datastore,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    random: Random,
    on_models: Callable[[Collection[str]], None],
) -> ClusterSource:
    """Endpoints from a cluster, by the pool's object or by a selector on the command line.

    Raises:
        StartError: what to watch, or where, is not told.
    """
    identity, membership = _what(options, environ)
    try:
        client = KubeClient(find_loader(options.kubeconfig, environ))
    except CredentialsError as error:
        raise StartError(f"Failed to get Kubernetes rest config: {error}") from None
    view = PoolView(
        datastore,
        identity,
        metrics_port=options.model_server_metrics_port,
        membership=membership,
        on_models=on_models,
    )
    watch = ClusterWatch(
        client, view, identity, clock=clock, random=random, watches_pool=membership is None
    )
    return ClusterSource(client, watch, identity)


def _what(options: Options, environ: Mapping[str, str]) -> tuple[PoolIdentity, Membership | None]:
    if not options.endpoint_selector:
        if not options.pool_name:
            raise StartError('required "poolName" flag not set')
        return PoolIdentity(options.pool_name, options.pool_namespace, options.pool_group), None
    try:
        selector = Selector.parse(options.endpoint_selector)
    except SelectorError as error:
        raise StartError(
            f'invalid endpoint-selector "{options.endpoint_selector}": {error}'
        ) from None
    match = _POD_OF_DEPLOYMENT.fullmatch(environ.get("POD_NAME", ""))
    if match is None:
        raise StartError(
            "with --endpoint-selector the environment variable POD_NAME must be the name of a "
            "Deployment's pod: it gives the pool its name"
        )
    membership = Membership(selector=selector, ports=options.endpoint_target_ports)
    return PoolIdentity(match[1], options.pool_namespace), membership

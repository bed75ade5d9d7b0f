"""Watches the cluster for what the pool is made of.

Pool and pods must be readable; objectives and rewrite rules need not be, nor need the cluster know
them. Of both there are two API groups, which are watched side by side. Nodes are watched once
somebody wants their labels; they need not be readable either.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/server.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from epp.core.clock import Clock
from epp.core.errors import StartError
from epp.core.selector import Selector, SelectorError
from epp.datastore.store import Datastore
from epp.discovery.pool import Names, PoolIdentity, PoolView
from epp.discovery.readings import Membership
from epp.flags.options import Options
from epp.flags.validation import OptionsError
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.credentials import CredentialsError, find_loader
from epp.kube.lease import Elector, lease_name, make_identity
from epp.kube.objects import (
    EXPERIMENTAL_GROUP,
    ROUTER_GROUP,
    STABLE_GROUP,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    Node,
    Pod,
)
from epp.kube.reflector import Kind, Reflector
from epp.kube.reviews import Reviews
from epp.telemetry import logs
from epp.telemetry.server import Authorize

logger = logging.getLogger("controller")

OPTIONAL_SECONDS = 5.0
"""How long readiness waits for the kinds that it does not need, once one of them was answered."""

_POOL_VERSIONS = {STABLE_GROUP: "v1", EXPERIMENTAL_GROUP: "v1alpha2"}
_OPTIONAL_VERSION = "v1alpha2"
_NODES = Kind("*v1.Node", "/api/v1/nodes", Node, is_optional=True)
_POD_OF_DEPLOYMENT = re.compile(r"(.+)-[a-z0-9]+-[a-z0-9]+")


class ClusterWatch:
    """Feeds a view while it runs; without ``watches_pool`` only with pods."""

    def __init__(
        self,
        client: KubeClient,
        view: PoolView,
        identity: PoolIdentity,
        *,
        clock: Clock,
        random: Random,
        watches_pool: bool = True,
    ) -> None:
        self._client = client
        self._identity = identity
        self._clock = clock
        self._random = random
        self._view = view
        make = partial(Reflector, client, clock=clock, random=random)
        self._optional: list[Reflector[Any]] = []
        self._needed: list[Reflector[Any]] = [make(self._pods(), view.pods_changed)]
        self._nodes: Reflector[Node] = make(_NODES, view.nodes_changed)
        self._wants_nodes = asyncio.Event()
        self._has_pool = asyncio.Event()
        if watches_pool:
            for group in (EXPERIMENTAL_GROUP, ROUTER_GROUP):
                self._optional += [
                    make(self._objectives(group), partial(view.objectives_changed, group)),
                    make(self._rewrites(group), partial(view.rewrites_changed, group)),
                ]
            self._needed.append(make(self._pool(), self._pool_changed))

    async def open(self) -> None:
        """Load the credentials.

        Raises:
            StartError: they cannot be used.
        """
        try:
            await self._client.open()
        except CredentialsError as error:
            raise StartError(f"Failed to get Kubernetes rest config: {error}") from None

    def label_by_nodes(self, names: Mapping[str, str]) -> None:
        """Give endpoints these labels of their nodes; also while it runs.

        ``names`` are what they are called here and there; without any, nodes are not asked for.
        """
        self._view.label_by_nodes(names)
        if names:
            self._wants_nodes.set()

    def elector(self) -> Elector:
        """Who stands for the election of one leader among the pool's pickers."""
        namespace = self._identity.namespace
        return Elector(
            self._client,
            namespace,
            lease_name(namespace, self._identity.name),
            identity=make_identity(),
            clock=self._clock,
            random=self._random,
        )

    def authorize(self) -> Authorize:
        """Asks the API server who may read the metrics port."""
        return Reviews(self._client, clock=self._clock, random=self._random)

    async def run(self) -> None:
        """Watch until cancelled.

        Pool and pods are last to be listed: when they make the picker ready, priorities and rules
        are in force, as far as there are any and the API server tells of them without delay.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for reflector in self._optional:
                    tasks.create_task(reflector.run())
                tasks.create_task(self._follow_nodes())
                optional = [*self._optional, self._nodes]
                if not self._wants_nodes.is_set():
                    optional.pop()
                if tried := [tasks.create_task(each.tried.wait()) for each in optional]:
                    await asyncio.wait(tried, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.wait(tried, timeout=OPTIONAL_SECONDS)
                for reflector in self._needed:
                    tasks.create_task(reflector.run())
                tasks.create_task(self._tell_of_twin())
        finally:
            await self._client.close()

    async def _follow_nodes(self) -> None:
        await self._wants_nodes.wait()
        await self._nodes.run()

    def _pool_changed(self, pools: Mapping[str, InferencePool], names: Names) -> None:
        self._view.pool_changed(pools, names)
        if self._identity.name in pools:
            self._has_pool.set()

    async def _tell_of_twin(self) -> None:
        """Say so if the other API group has a pool of this name too; it has no effect."""
        await self._has_pool.wait()
        identity = self._identity
        for group, version in _POOL_VERSIONS.items():
            if group == identity.group:
                continue
            path = _path(group, version, identity.namespace, "inferencepools")
            with suppress(ApiError, UnreachableError):
                await self._client.get(f"{path}/{identity.name}")
                logs.warn(
                    logger,
                    "There are two InferencePools of this name; one is ignored, see --pool-group",
                    name=identity.name,
                    namespace=identity.namespace,
                    used=identity.group,
                    ignored=group,
                )

    def _pods(self) -> Kind[Pod]:
        return Kind("*v1.Pod", _path("", "v1", self._identity.namespace, "pods"), Pod)

    def _pool(self) -> Kind[InferencePool]:
        identity = self._identity
        version = _POOL_VERSIONS[identity.group]
        return Kind(
            f"*{version}.InferencePool",
            _path(identity.group, version, identity.namespace, "inferencepools"),
            InferencePool,
            field_selector=f"metadata.name={identity.name}",
        )

    def _objectives(self, group: str) -> Kind[InferenceObjective]:
        return Kind(
            f"{group} InferenceObjective",
            _path(group, _OPTIONAL_VERSION, self._identity.namespace, "inferenceobjectives"),
            InferenceObjective,
            is_optional=True,
        )

    def _rewrites(self, group: str) -> Kind[InferenceModelRewrite]:
        return Kind(
            f"{group} InferenceModelRewrite",
            _path(group, _OPTIONAL_VERSION, self._identity.namespace, "inferencemodelrewrites"),
            InferenceModelRewrite,
            is_optional=True,
        )


def _path(group: str, version: str, namespace: str, plural: str) -> str:
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}"


def watch_cluster(
    options: Options,
    datastore: Datastore,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    random: Random,
    on_models: Callable[[Collection[str]], None],
) -> ClusterWatch:
    """Endpoints from a cluster, by the pool's object or by a selector on the command line.

    Raises:
        StartError, OptionsError: what to watch, or where, is not told.
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
    return ClusterWatch(
        client, view, identity, clock=clock, random=random, watches_pool=membership is None
    )


def _what(options: Options, environ: Mapping[str, str]) -> tuple[PoolIdentity, Membership | None]:
    if not options.endpoint_selector:
        if not options.pool_name:
            raise OptionsError('required "poolName" flag not set')
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

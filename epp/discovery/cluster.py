"""Watches the cluster for what the pool is made of.

Pool and pods must be readable; objectives and rewrite rules need not be, nor need the cluster know
them. Of both there are two API groups, which are watched side by side.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from epp.core.clock import Clock
from epp.discovery.pool import Names, PoolIdentity, PoolView
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.objects import (
    EXPERIMENTAL_GROUP,
    ROUTER_GROUP,
    STABLE_GROUP,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    Pod,
)
from epp.kube.reflector import Kind, Reflector
from epp.telemetry import logs

logger = logging.getLogger("controller")

_POOL_VERSIONS = {STABLE_GROUP: "v1", EXPERIMENTAL_GROUP: "v1alpha2"}
_OPTIONAL_VERSION = "v1alpha2"


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
        self._view = view
        make = partial(Reflector, client, clock=clock, random=random)
        self._optional: list[Reflector[Any]] = []
        self._needed: list[Reflector[Any]] = [make(self._pods(), view.pods_changed)]
        self._has_pool = asyncio.Event()
        if watches_pool:
            for group in (EXPERIMENTAL_GROUP, ROUTER_GROUP):
                self._optional += [
                    make(self._objectives(group), partial(view.objectives_changed, group)),
                    make(self._rewrites(group), partial(view.rewrites_changed, group)),
                ]
            self._needed.append(make(self._pool(), self._pool_changed))

    async def run(self) -> None:
        """Watch until cancelled.

        Pool and pods are last to be listed: when they make the picker ready, priorities and rules
        are in force, as far as there are any.
        """
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._optional:
                tasks.create_task(reflector.run())
            for reflector in self._optional:
                await reflector.tried.wait()
            for reflector in self._needed:
                tasks.create_task(reflector.run())
            tasks.create_task(self._tell_of_twin())

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

"""From what the API server tells to the pool's endpoints, priorities and rewrite rules.

Nothing here waits or asks: every change of an object is one call, and what follows from it is in
the datastore when the call returns. An object that cannot be meant changes nothing and is named in
one line.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/controller and
pkg/epp/datastore.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias, TypeVar

import msgspec

from epp.core.datalayer import HOSTNAME
from epp.core.endpoint import Endpoint
from epp.datastore.rewrites import Rewrite, Rewrites
from epp.datastore.store import Datastore, Pool
from epp.discovery.readings import Membership, active_ports, read_membership, read_rewrite
from epp.kube.objects import (
    ROUTER_GROUP,
    STABLE_GROUP,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    Node,
    Pod,
    PoolRef,
)
from epp.telemetry import logs

Names: TypeAlias = Collection[str]

_T = TypeVar("_T")

logger = logging.getLogger("controller")


class PoolIdentity(msgspec.Struct, frozen=True):
    """The pool that the command line names."""

    name: str
    namespace: str
    group: str = STABLE_GROUP

    def is_meant(self, reference: PoolRef) -> bool:
        """Whether an object is for this pool; the kind does not count."""
        return reference.name == self.name and reference.group == self.group


class PoolView:
    """Follows the objects, and keeps the datastore in step.

    ``metrics_port``, if not 0, is where a pool with one target port tells its metrics;
    ``membership`` is given where there is no object that tells it; ``on_models`` gets the models
    that rewrite rules name.
    """

    def __init__(
        self,
        datastore: Datastore,
        identity: PoolIdentity,
        *,
        metrics_port: int = 0,
        membership: Membership | None = None,
        on_models: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._datastore = datastore
        self._identity = identity
        self._metrics_port = metrics_port
        self._membership = membership
        self._on_models = on_models
        self._pods: Mapping[str, Pod] | None = None
        self._nodes: Mapping[str, Node] = {}
        self._node_labels: Mapping[str, str] = {}
        self._endpoints: dict[str, tuple[str, ...]] = {}
        self._objectives: dict[str, Mapping[str, InferenceObjective]] = {}
        self._rewrites: dict[str, Mapping[str, InferenceModelRewrite]] = {}
        self._good_rewrites: dict[tuple[str, str], list[Rewrite]] = {}
        self._is_told_absent = False

    def pool_changed(self, pools: Mapping[str, InferencePool], names: Names) -> None:
        """The pool came, changed or went."""
        pool = pools.get(self._identity.name)
        if pool is None or pool.is_terminating:
            if self._membership is not None or not self._is_told_absent:
                logs.log(
                    logger, 2, "InferencePool not found. Clearing the datastore", **self._fields
                )
            self._is_told_absent = True
            self._follow(None)
            return
        try:
            membership = read_membership(pool, is_stable=self._identity.group == STABLE_GROUP)
        except ValueError as error:
            logs.error(
                logger,
                "Ignoring an InferencePool that cannot be meant",
                **self._fields,
                error=str(error),
            )
            return
        if membership != self._membership:
            self._follow(membership)

    def pods_changed(self, pods: Mapping[str, Pod], names: Names) -> None:
        """Pods came, changed or went."""
        is_first = self._pods is None
        self._pods = pods
        for name in names:
            self._place(name)
        if is_first:
            self._publish()

    def label_by_nodes(self, names: Mapping[str, str]) -> None:
        """Give endpoints these labels of their nodes: what they are called here and there."""
        if names != self._node_labels:
            self._node_labels = names
            self._place_again(self._pods or ())

    def nodes_changed(self, nodes: Mapping[str, Node], names: Names) -> None:
        """Nodes came, changed or went."""
        self._nodes = nodes
        changed = set(names)
        pods = self._pods or {}
        self._place_again([name for name in pods if pods[name].spec.node_name in changed])

    def objectives_changed(
        self, group: str, objectives: Mapping[str, InferenceObjective], names: Names
    ) -> None:
        """Objectives of one API group came, changed or went; those of ``llm-d.ai`` win."""
        self._objectives[group] = objectives
        self._report_strangers("InferenceObjective", (objectives.get(name) for name in names))
        priorities: dict[str, int] = {}
        for _, known in _weakest_first(self._objectives):
            for name, objective in known.items():
                if not objective.is_terminating and self._identity.is_meant(
                    objective.spec.pool_ref
                ):
                    priorities[name] = objective.spec.priority or 0
        self._datastore.set_priorities(priorities)

    def rewrites_changed(
        self, group: str, rewrites: Mapping[str, InferenceModelRewrite], names: Names
    ) -> None:
        """Rewrite rules of one API group came, changed or went; those of ``llm-d.ai`` win."""
        self._rewrites[group] = rewrites
        self._report_strangers("InferenceModelRewrite", (rewrites.get(name) for name in names))
        for name in names:
            self._read_rewrite(group, name)
        chosen: dict[str, tuple[str, list[Rewrite]]] = {}
        for known_group, known in _weakest_first(self._rewrites):
            for name, item in known.items():
                if rules := self._good_rewrites.get((known_group, name)):
                    chosen[name] = (item.metadata.creation_timestamp or "", rules)
        oldest_first = sorted(chosen.items(), key=lambda entry: (entry[1][0], entry[0]))
        table = Rewrites(rule for _, (_, rules) in oldest_first for rule in rules)
        self._datastore.rewrites = table
        if self._on_models is not None:
            self._on_models(table.models())

    def _read_rewrite(self, group: str, name: str) -> None:
        item = self._rewrites[group].get(name)
        if item is None or item.is_terminating or not self._identity.is_meant(item.spec.pool_ref):
            self._good_rewrites.pop((group, name), None)
            return
        try:
            rules = [read_rewrite(name, rule) for rule in item.spec.rules or ()]
        except ValueError as error:
            logs.error(
                logger,
                "Ignoring an InferenceModelRewrite that cannot be meant",
                name=name,
                namespace=self._identity.namespace,
                error=str(error),
            )
            return
        self._good_rewrites[(group, name)] = rules

    def _report_strangers(
        self, kind: str, items: Iterable[InferenceObjective | InferenceModelRewrite | None]
    ) -> None:
        for item in items:
            if item is None or self._identity.is_meant(item.spec.pool_ref):
                continue
            reference = item.spec.pool_ref
            logs.log(
                logger,
                2,
                f"{kind} is for another pool",
                name=item.name,
                namespace=item.metadata.namespace,
                pool=f"{reference.name} ({reference.group})",
            )

    def _follow(self, membership: Membership | None) -> None:
        self._membership = membership
        self._place_again([*self._endpoints, *(self._pods or ())])
        self._publish()

    def _publish(self) -> None:
        """There is a pool once it and its pods are known: before, nobody could be picked."""
        is_known = self._membership is not None and self._pods is not None
        pool = Pool(name=self._identity.name, namespace=self._identity.namespace)
        self._datastore.set_pool(pool if is_known else None)

    def _place_again(self, names: Iterable[str]) -> None:
        for name in names:
            self._place(name)

    def _place(self, name: str) -> None:
        """Make the endpoints of one pod what they should be."""
        pod = self._pods.get(name) if self._pods else None
        wanted = self._endpoints_of(pod) if pod is not None else []
        before = self._endpoints.get(name, ())
        after = tuple(endpoint.id for endpoint in wanted)
        for gone in before:
            if gone not in after:
                self._datastore.remove_endpoint(gone)
        for endpoint in wanted:
            self._datastore.put_endpoint(endpoint)
        if before and not after:
            logs.log(logger, 3, "Pod removed", name=name)
        if after and not before:
            logs.log(logger, 2, "Pod added", name=name)
        if after:
            self._endpoints[name] = after
        else:
            self._endpoints.pop(name, None)

    def _endpoints_of(self, pod: Pod) -> list[Endpoint]:
        membership = self._membership
        labels = pod.metadata.labels or {}
        if (
            membership is None
            or pod.is_terminating
            or not pod.status.pod_ip
            or not pod.is_ready
            or not membership.selector.matches(labels)
        ):
            return []
        if self._node_labels:
            labels = {**self._labels_of_node(pod.spec.node_name), **labels}
        active = active_ports(pod.metadata.annotations or {})
        namespace = self._identity.namespace
        return [
            Endpoint(
                id=f"{namespace}/{pod.name}-rank-{rank}",
                name=f"{pod.name}-rank-{rank}",
                namespace=namespace,
                address=pod.status.pod_ip,
                port=port,
                labels=labels,
                pod=pod.name,
                metrics_port=self._metrics_port if len(membership.ports) == 1 else 0,
                node_address=pod.status.host_ip,
            )
            for rank, port in enumerate(membership.ports)
            if active is None or port in active
        ]

    def _labels_of_node(self, name: str) -> dict[str, str]:
        """What a node tells; its name at least, if that is wanted, also of one nobody may read."""
        node = self._nodes.get(name)
        there = (node.metadata.labels if node else None) or {}
        found = {here: there[key] for here, key in self._node_labels.items() if key in there}
        if name and HOSTNAME in self._node_labels:
            found.setdefault(HOSTNAME, name)
        return found

    @property
    def _fields(self) -> dict[str, object]:
        identity = self._identity
        return {"name": identity.name, "namespace": identity.namespace, "group": identity.group}


def _weakest_first(
    groups: Mapping[str, Mapping[str, _T]],
) -> list[tuple[str, Mapping[str, _T]]]:
    """The groups with their objects; ``llm-d.ai`` comes last and so wins."""
    return sorted(groups.items(), key=lambda entry: entry[0] == ROUTER_GROUP)

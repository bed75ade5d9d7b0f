"""Kubernetes objects as small as they may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from epp.kube.objects import (
    STABLE_GROUP,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    Metadata,
    Node,
    Pod,
    PodSpec,
    PodStatus,
)
from epp.kube.objects import Condition as PodCondition

_T = TypeVar("_T")

LABELS = {"app": "vllm"}
NOON = "2026-11-26T12:00:00Z"


def make_pod(
    name: str = "a",
    address: str = "10.0.0.1",
    *,
    labels: Mapping[str, str] | None = LABELS,
    annotations: Mapping[str, str] | None = None,
    is_ready: bool = True,
    is_terminating: bool = False,
    node: str = "",
    node_address: str = "",
) -> Pod:
    metadata = Metadata(
        name=name,
        namespace="ns",
        labels=None if labels is None else dict(labels),
        annotations=None if annotations is None else dict(annotations),
        deletion_timestamp=NOON if is_terminating else None,
    )
    ready = PodCondition(type="Ready", status="True" if is_ready else "False")
    status = PodStatus(pod_ip=address, host_ip=node_address, conditions=[ready])
    return Pod(metadata=metadata, spec=PodSpec(node_name=node), status=status)


def make_node(name: str, **labels: str) -> Node:
    """Labels by the last part of their names."""
    named = {f"topology.kubernetes.io/{label}": value for label, value in labels.items()}
    return Node(metadata=Metadata(name=name, labels=named))


def make_pool(
    *ports: int,
    name: str = "pool",
    labels: Mapping[str, str] | None = LABELS,
    is_terminating: bool = False,
    **spec: Any,
) -> InferencePool:
    """Version 1 with ``ports``; without any, ``spec`` is all there is."""
    if ports:
        selector = {"matchLabels": labels}
        spec = {"selector": selector, "targetPorts": [{"number": port} for port in ports]} | spec
    return _read(InferencePool, name, spec, is_terminating=is_terminating)


def make_objective(
    name: str, priority: int | None, *, pool: str = "pool", group: str = STABLE_GROUP, **more: Any
) -> InferenceObjective:
    spec = {"poolRef": {"name": pool, "group": group}, "priority": priority}
    return _read(InferenceObjective, name, spec, **more)


def make_rewrite(
    name: str, *rules: Mapping[str, Any], pool: str = "pool", created: str = NOON, **more: Any
) -> InferenceModelRewrite:
    spec = {"poolRef": {"name": pool, "group": STABLE_GROUP}, "rules": rules}
    return _read(InferenceModelRewrite, name, spec, created=created, **more)


def rule(
    model: str | None, *targets: tuple[str, int | None], key: str = "targets"
) -> dict[str, Any]:
    """One of a rewrite's rules, for every request where ``model`` is None."""
    found: dict[str, Any] = {
        key: [{"modelRewrite": name, "weight": weight} for name, weight in targets]
    }
    return found if model is None else {**found, "matches": [{"model": {"value": model}}]}


def by_name(*items: Any) -> dict[str, Any]:
    return {item.name: item for item in items}


def _read(
    kind: type[_T],
    name: str,
    spec: Mapping[str, Any],
    *,
    created: str = NOON,
    is_terminating: bool = False,
) -> _T:
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": created}
    if is_terminating:
        metadata["deletionTimestamp"] = NOON
    return msgspec.json.decode(json.dumps({"metadata": metadata, "spec": spec}), type=kind)

"""What is read of Kubernetes objects, and nothing else of them.

Fields that an object may lack have defaults; a field of another type than it should have makes the
decoding of that object fail, which costs one object and not the list.

Source: Kubernetes core/v1; gateway-api-inference-extension 2aaf2a6, api/v1 and apix/v1alpha2;
llm-d-router v0.10, config/crd.
"""

from __future__ import annotations

import msgspec

STABLE_GROUP = "inference.networking.k8s.io"
EXPERIMENTAL_GROUP = "inference.networking.x-k8s.io"
ROUTER_GROUP = "llm-d.ai"


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: wrong JSON or another type, wrong UTF-8, nested too deeply."""


class Object(msgspec.Struct, frozen=True, rename="camel"):
    """Base: snake_case here is camelCase in JSON; unknown fields are skipped."""


class Metadata(Object, frozen=True):
    """The common part; time stamps are RFC 3339 in UTC, so they sort as text."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class Named(Object, frozen=True):
    """Any object."""

    metadata: Metadata

    @property
    def name(self) -> str:
        """Its name in its namespace."""
        return self.metadata.name

    @property
    def is_terminating(self) -> bool:
        """Whether it was told to end."""
        return self.metadata.deletion_timestamp is not None


class Condition(Object, frozen=True):
    """One of a pod's conditions."""

    type: str
    status: str


class PodStatus(Object, frozen=True):
    """Where a pod is, and how it is doing."""

    pod_ip: str = msgspec.field(name="podIP", default="")
    host_ip: str = msgspec.field(name="hostIP", default="")
    conditions: list[Condition] | None = None


class PodSpec(Object, frozen=True):
    """On which node a pod is."""

    node_name: str = ""


class Node(Named, frozen=True):
    """core/v1 Node."""


class Pod(Named, frozen=True):
    """core/v1 Pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        """Whether its Ready condition is true."""
        return any(
            condition.type == "Ready" and condition.status == "True"
            for condition in self.status.conditions or ()
        )


class PoolSelector(Object, frozen=True):
    """Which pods belong to a pool."""

    match_labels: dict[str, str] | None = None


class TargetPort(Object, frozen=True):
    """A port of every pod."""

    number: int


class PoolSpec(Object, frozen=True):
    """The fields of both versions; those of the other one are unset."""

    selector: msgspec.Raw = msgspec.Raw(b"null")
    target_ports: list[TargetPort] | None = None
    target_port_number: int | None = None
    app_protocol: str | None = None


class InferencePool(Named, frozen=True):
    """InferencePool v1 or v1alpha2; ``selector`` and ``ports`` hide the difference."""

    spec: PoolSpec

    @property
    def ports(self) -> list[int]:
        """The target ports in their order."""
        if self.spec.target_ports is not None:
            return [port.number for port in self.spec.target_ports]
        return [] if self.spec.target_port_number is None else [self.spec.target_port_number]

    def selector(self, *, is_stable: bool) -> dict[str, str]:
        """The labels that its pods have.

        Raises:
            msgspec.ValidationError: it is no selector of this version.
        """
        if is_stable:
            found = msgspec.json.decode(self.spec.selector, type=PoolSelector | None)
            return (found.match_labels if found else None) or {}
        return msgspec.json.decode(self.spec.selector, type=dict[str, str] | None) or {}


class PoolRef(Object, frozen=True):
    """The pool that an object is meant for."""

    name: str
    group: str = STABLE_GROUP


class ObjectiveSpec(Object, frozen=True):
    """``priority`` unset means 0."""

    pool_ref: PoolRef
    priority: int | None = None


class InferenceObjective(Named, frozen=True):
    """InferenceObjective v1alpha2, of either group."""

    spec: ObjectiveSpec


class RewriteModel(Object, frozen=True):
    """The one kind of match there is: the exact name."""

    value: str
    type: str = "Exact"


class RewriteMatch(Object, frozen=True):
    """A request to which a rule applies."""

    model: RewriteModel


class RewriteTarget(Object, frozen=True):
    """A model that requests may get instead."""

    model_rewrite: str
    weight: int | None = None


class RewriteRule(Object, frozen=True):
    """``split`` is the older name of ``targets``; no matches: every request."""

    matches: list[RewriteMatch] | None = None
    targets: list[RewriteTarget] | None = None
    split: list[RewriteTarget] | None = None


class RewriteSpec(Object, frozen=True):
    """The rules in their order."""

    pool_ref: PoolRef
    rules: list[RewriteRule] | None = None


class InferenceModelRewrite(Named, frozen=True):
    """InferenceModelRewrite v1alpha2, of either group."""

    spec: RewriteSpec


class ListMetadata(Object, frozen=True):
    """Where a list ends, and how to get the rest."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class ObjectList(Object, frozen=True):
    """A list whose items are decoded one by one, so that a broken one does not cost the others."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class Event(Object, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"null")


class Failure(Object, frozen=True):
    """The object of an ERROR event."""

    code: int = 0
    message: str = ""


class Identity(Object, frozen=True):
    """Which object it is, and in which state; empty where it does not tell."""

    namespace: str = ""
    name: str = ""
    resource_version: str = ""


class _Identified(Object, frozen=True):
    metadata: Identity


def identify(raw: msgspec.Raw) -> Identity:
    """Which object it is; also of one that cannot be read otherwise."""
    try:
        return msgspec.json.decode(raw, type=_Identified).metadata
    except UNREADABLE:
        return Identity()

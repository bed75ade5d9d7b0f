"""Our CustomResourceDefinitions take and refuse what the published ones do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import msgspec
import pytest

from lab.apiserver import ApiError, Cluster
from tests.system.clusters import (
    cluster_with_crds,
    published_crds,
    started_cluster,
    wait_for_crds,
)

pytestmark = pytest.mark.system

POOLS = "inference.networking.k8s.io/v1 inferencepools"
OLD_POOLS = "inference.networking.x-k8s.io/v1alpha2 inferencepools"
OBJECTIVES = "inference.networking.x-k8s.io/v1alpha2 inferenceobjectives"
LLM_D_OBJECTIVES = "llm-d.ai/v1alpha2 inferenceobjectives"
REWRITES = "inference.networking.x-k8s.io/v1alpha2 inferencemodelrewrites"
LLM_D_REWRITES = "llm-d.ai/v1alpha2 inferencemodelrewrites"
KINDS = {
    "inferencepools": "InferencePool",
    "inferenceobjectives": "InferenceObjective",
    "inferencemodelrewrites": "InferenceModelRewrite",
}

Spec = dict[str, Any]
PICKER: Spec = {"name": "picker", "port": {"number": 9002}}
POOL: Spec = {
    "selector": {"matchLabels": {"app": "vllm"}},
    "targetPorts": [{"number": 8000}],
    "endpointPickerRef": PICKER,
}
OLD_POOL: Spec = {
    "selector": {"app": "vllm"},
    "targetPortNumber": 8000,
    "extensionRef": {"name": "picker"},
}
POOL_REF: Spec = {"name": "pool"}
FILLED_POOL_REF: Spec = {
    "group": "inference.networking.k8s.io",
    "kind": "InferencePool",
    "name": "pool",
}
PICKER_DEFAULTS: Spec = {"group": "", "kind": "Service", "failureMode": "FailClose"}
WAITING: Spec = {
    "status": "Unknown",
    "reason": "Pending",
    "message": "Waiting for controller",
    "lastTransitionTime": "1970-01-01T00:00:00Z",
}
CONDITION: Spec = {**WAITING, "type": "Accepted"}
RULE: Spec = {
    "matches": [{"model": {"value": "a"}}],
    "targets": [{"modelRewrite": "b", "weight": 1}],
}


class Sample(msgspec.Struct, frozen=True):
    """An object, and what becomes of it: ``stored`` as its spec, or ``refused`` with this text."""

    name: str
    resource: str
    spec: Spec | None
    stored: Spec | None = None
    refused: str = ""

    @classmethod
    def pool(cls, name: str, refused: str = "", /, **changed: Any) -> Self:
        """A v1 pool with these fields changed."""
        return cls(name, POOLS, {**POOL, **changed}, refused=refused)

    @classmethod
    def picker(cls, name: str, refused: str = "", /, **changed: Any) -> Self:
        """A v1 pool with these fields of its endpointPickerRef changed; None is left out."""
        picker = {key: value for key, value in {**PICKER, **changed}.items() if value is not None}
        return cls(name, POOLS, {**POOL, "endpointPickerRef": picker}, refused=refused)

    @property
    def path(self) -> str:
        group, plural = self.resource.split()
        return f"/apis/{group}/namespaces/default/{plural}"

    @property
    def object(self) -> Spec:
        group, plural = self.resource.split()
        thing = {"apiVersion": group, "kind": KINDS[plural], "metadata": {"name": self.name}}
        return thing if self.spec is None else {**thing, "spec": self.spec}


def without(spec: Spec, field: str) -> Spec:
    return {key: value for key, value in spec.items() if key != field}


def policies() -> Iterator[Sample]:
    """The same for the kinds that refer to a pool, in both their groups."""
    for resource, group in ((OBJECTIVES, "x"), (LLM_D_OBJECTIVES, "l")):
        filled = {"poolRef": FILLED_POOL_REF}
        yield Sample(f"objective-{group}", resource, {"poolRef": POOL_REF}, filled)
        yield Sample(
            f"objective-{group}-sheddable",
            resource,
            {"poolRef": POOL_REF, "priority": -10},
            {**filled, "priority": -10},
        )
        yield Sample(
            f"objective-{group}-no-pool", resource, {"priority": 1}, refused="spec.poolRef"
        )
        yield Sample(
            f"objective-{group}-real-priority",
            resource,
            {"poolRef": POOL_REF, "priority": 1.5},
            refused="spec.priority",
        )
        yield Sample(
            f"objective-{group}-group",
            resource,
            {"poolRef": {**POOL_REF, "group": "Not_A_Group"}},
            refused="spec.poolRef.group",
        )
    for resource, group, targets in ((REWRITES, "x", "split"), (LLM_D_REWRITES, "l", "targets")):
        rule = {"matches": RULE["matches"], targets: RULE["targets"]}
        yield Sample(
            f"rewrite-{group}",
            resource,
            {"poolRef": POOL_REF, "rules": [rule]},
            {
                "poolRef": FILLED_POOL_REF,
                "rules": [{**rule, "matches": [{"model": {"type": "Exact", "value": "a"}}]}],
            },
        )
        for name, changed, refused in (
            ("no-targets", {targets: []}, targets),
            ("weightless", {targets: [{"modelRewrite": "b", "weight": 0}]}, "weight"),
            ("too-heavy", {targets: [{"modelRewrite": "b", "weight": 1000001}]}, "weight"),
            ("nowhere", {targets: [{"weight": 1}]}, "modelRewrite"),
            ("no-value", {"matches": [{"model": {}}]}, "value"),
            ("empty-value", {"matches": [{"model": {"value": ""}}]}, "value"),
            ("prefix", {"matches": [{"model": {"type": "Prefix", "value": "a"}}]}, "Prefix"),
            ("no-model", {"matches": [{}]}, "model"),
        ):
            yield Sample(
                f"rewrite-{group}-{name}",
                resource,
                {"poolRef": POOL_REF, "rules": [{**rule, **changed}]},
                refused=refused,
            )
        yield Sample(f"rewrite-{group}-no-rules", resource, {"poolRef": POOL_REF}, refused="rules")
        yield Sample(f"rewrite-{group}-no-pool", resource, {"rules": [rule]}, refused="poolRef")
        yield Sample(
            f"rewrite-{group}-for-all",
            resource,
            {"poolRef": POOL_REF, "rules": [{targets: [{"modelRewrite": "b"}]}, {}]},
            {"poolRef": FILLED_POOL_REF, "rules": [{targets: [{"modelRewrite": "b"}]}, {}]},
        )


PORT_MESSAGE = "port is required when kind is 'Service' or unspecified (defaults to 'Service')"
SAMPLES = [
    Sample(
        "pool",
        POOLS,
        POOL,
        {**POOL, "appProtocol": "http", "endpointPickerRef": {**PICKER_DEFAULTS, **PICKER}},
    ),
    Sample("pool-without-spec", POOLS, None, refused="spec"),
    *(
        Sample(f"pool-without-{field.lower()}", POOLS, without(POOL, field), refused=field)
        for field in POOL
    ),
    Sample.pool("pool-8-ports", targetPorts=[{"number": n} for n in range(1, 9)]),
    Sample.pool("pool-9-ports", "targetPorts", targetPorts=[{"number": n} for n in range(1, 10)]),
    Sample.pool("pool-no-port", "targetPorts", targetPorts=[]),
    Sample.pool("pool-port-0", "targetPorts[0].number", targetPorts=[{"number": 0}]),
    Sample.pool("pool-port-65535", targetPorts=[{"number": 65535}]),
    Sample.pool("pool-port-65536", "targetPorts[0].number", targetPorts=[{"number": 65536}]),
    Sample.pool("pool-port-text", "targetPorts[0].number", targetPorts=[{"number": "8000"}]),
    Sample.pool("pool-port-twice", "port number must be unique", targetPorts=[{"number": 1}] * 2),
    Sample.pool("pool-labels", selector={"matchLabels": {f"l{n}": "" for n in range(64)}}),
    Sample.pool(
        "pool-many-labels",
        "matchLabels",
        selector={"matchLabels": {f"l{n}": "" for n in range(65)}},
    ),
    Sample.pool("pool-no-labels", "matchLabels", selector={"matchLabels": {}}),
    Sample.pool("pool-no-label-map", "matchLabels", selector={}),
    Sample.pool("pool-label", "matchLabels.app", selector={"matchLabels": {"app": "-x"}}),
    Sample.pool("pool-long-label", "matchLabels.app", selector={"matchLabels": {"app": "x" * 64}}),
    Sample.picker("picker-open", failureMode="FailOpen"),
    Sample.picker("picker-half-open", "failureMode", failureMode="HalfOpen"),
    Sample.picker("picker-portless", PORT_MESSAGE, port=None),
    Sample.picker("picker-service-portless", PORT_MESSAGE, port=None, kind="Service"),
    Sample.picker("picker-other-kind", port=None, kind="Picker", group="example.org"),
    Sample.picker("picker-nameless", "endpointPickerRef.name", name=None),
    Sample.picker("picker-empty-name", "endpointPickerRef.name", name=""),
    Sample.picker("picker-long-name", "endpointPickerRef.name", name="x" * 254),
    Sample.picker("picker-kind", "endpointPickerRef.kind", kind="1Service"),
    Sample.picker("picker-empty-kind", "endpointPickerRef.kind", kind=""),
    Sample.picker("picker-group", "endpointPickerRef.group", group="a..b"),
    Sample.picker("picker-port", "endpointPickerRef.port.number", port={"number": 0}),
    Sample.picker("picker-no-port-number", "endpointPickerRef.port.number", port={}),
    Sample(
        "old-pool",
        OLD_POOLS,
        OLD_POOL,
        {**OLD_POOL, "extensionRef": {**PICKER_DEFAULTS, "name": "picker"}},
    ),
    Sample("old-pool-of-all-pods", OLD_POOLS, {**OLD_POOL, "selector": {}}),
    *(
        Sample(
            f"old-pool-without-{field.lower()}", OLD_POOLS, without(OLD_POOL, field), None, field
        )
        for field in OLD_POOL
    ),
    Sample(
        "old-pool-port", OLD_POOLS, {**OLD_POOL, "targetPortNumber": 0}, None, "targetPortNumber"
    ),
    Sample(
        "old-pool-picker-port",
        OLD_POOLS,
        {**OLD_POOL, "extensionRef": {"name": "p", "portNumber": 70000}},
        refused="extensionRef.portNumber",
    ),
    *policies(),
]

# Statuses as a gateway writes them, and whether they may be.
PARENT: Spec = {"parentRef": {"name": "gateway"}, "conditions": [CONDITION]}
STATUSES: list[tuple[str, Spec, str]] = [
    ("pool", {"parents": [PARENT]}, ""),
    ("pool", {"parents": [{**PARENT, "controllerName": "istio.io/gateway-controller"}]}, ""),
    ("pool", {"parents": [{**PARENT, "controllerName": "istio"}]}, "controllerName"),
    ("pool", {"parents": [without(PARENT, "parentRef")]}, "parentRef"),
    ("pool", {"parents": [{"parentRef": {"name": "g", "namespace": "A"}}]}, "namespace"),
    ("pool", {"parents": [PARENT] * 32}, ""),
    ("pool", {"parents": [PARENT] * 33}, "parents"),
    ("pool", {"parents": [{**PARENT, "conditions": [CONDITION] * 2}]}, "Duplicate value"),
    ("old-pool", {"parent": [PARENT]}, ""),
    ("old-pool", {"parent": [{"parentRef": {"name": "g"}}]}, ""),
    ("old-pool", {"parent": [PARENT] * 33}, "parent"),
    *(
        (name, {"conditions": [{**CONDITION, **changed}]}, refused)
        for name in ("objective-x", "objective-l", "rewrite-x", "rewrite-l")
        for changed, refused in (
            ({}, ""),
            ({"observedGeneration": 3}, ""),
            ({"observedGeneration": -1}, "observedGeneration"),
            ({"status": "Maybe"}, "status"),
            ({"reason": ""}, "reason"),
            ({"reason": "no reason"}, "reason"),
            ({"type": "not a type"}, "type"),
            ({"type": "example.org/Type"}, ""),
            ({"lastTransitionTime": "yesterday"}, "lastTransitionTime"),
            ({"message": "x" * 32769}, "message"),
        )
    ),
]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("ours")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folders = [published_crds(name) for name in ("gie-2aaf2a6", "llm-d-router-v0.10.0")]
    with started_cluster(tmp_path_factory.mktemp("published")) as cluster:
        for folder in folders:
            cluster.kubectl("apply", "-f", str(folder))
        wait_for_crds(cluster)
        yield cluster


def create(cluster: Cluster, sample: Sample) -> tuple[Spec, str]:
    """What is stored of the object, or why it is refused."""
    try:
        cluster.request("POST", sample.path, sample.object)
    except ApiError as error:
        return {}, explained(error)
    stored: Spec = cluster.request("GET", f"{sample.path}/{sample.name}")
    return {key: stored[key] for key in ("spec", "status") if key in stored}, ""


def explained(error: ApiError) -> str:
    """The message of a refusal, which names the field and the rule."""
    return str(msgspec.json.decode(str(error).partition(": ")[2])["message"])


def write_status(cluster: Cluster, name: str, status: Spec) -> tuple[Spec, str]:
    """The status that results, or why it is refused; nothing is kept."""
    sample = next(sample for sample in SAMPLES if sample.name == name)
    try:
        stored = cluster.patch(f"{sample.path}/{name}/status?dryRun=All", {"status": status})
    except ApiError as error:
        return {}, explained(error)
    return {"status": stored["status"]}, ""


@pytest.fixture(scope="module")
def answers(ours: Cluster) -> dict[str, tuple[Spec, str]]:
    """What ours answers to every sample."""
    return {sample.name: create(ours, sample) for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.name))
def test_an_object_is_stored_with_its_defaults_or_refused_with_a_reason(
    answers: dict[str, tuple[Spec, str]], sample: Sample
) -> None:
    stored, why = answers[sample.name]
    if sample.refused:
        assert sample.refused in why
    else:
        assert why == ""
        assert sample.stored in (None, stored["spec"])


def test_a_new_object_waits_for_its_controller(answers: dict[str, tuple[Spec, str]]) -> None:
    assert "status" not in answers["pool"][0]
    parent = {"kind": "Status", "name": "default", "group": "gateway.networking.k8s.io"}
    assert answers["old-pool"][0]["status"] == {
        "parent": [{"parentRef": parent, "conditions": [CONDITION]}]
    }


@pytest.mark.parametrize(("name", "status", "refused"), STATUSES)
def test_a_status_is_taken_or_refused_with_a_reason(
    ours: Cluster,
    answers: dict[str, tuple[Spec, str]],
    name: str,
    status: Spec,
    refused: str,
) -> None:
    assert answers[name][1] == ""
    why = write_status(ours, name, status)[1]
    assert refused in why
    assert bool(refused) == bool(why)


def test_the_published_crds_answer_the_same(
    answers: dict[str, tuple[Spec, str]], published: Cluster
) -> None:
    for sample in SAMPLES:
        stored, why = answers[sample.name]
        if "appProtocol" in stored.get("spec", {}):  # newer than the release we compare with
            stored = {**stored, "spec": without(stored["spec"], "appProtocol")}
        assert create(published, sample) == (stored, why), sample.name


def test_the_published_crds_take_the_same_statuses(
    ours: Cluster, answers: dict[str, tuple[Spec, str]], published: Cluster
) -> None:
    for name, status, _ in STATUSES:
        create(published, next(sample for sample in SAMPLES if sample.name == name))
        assert write_status(ours, name, status) == write_status(published, name, status), name


def test_kubectl_knows_short_names_and_columns(
    ours: Cluster, answers: dict[str, tuple[Spec, str]]
) -> None:
    assert "old-pool" in ours.kubectl("get", "xinfpool")
    assert "pool" in ours.kubectl("get", "infpool")
    objectives = ours.kubectl("get", "inferenceobjectives.llm-d.ai", "objective-l-sheddable")
    header, line = objectives.splitlines()
    assert header.split() == ["NAME", "INFERENCE", "POOL", "PRIORITY", "AGE"]
    assert line.split()[:3] == ["objective-l-sheddable", "pool", "-10"]

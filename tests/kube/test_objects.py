from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from epp.kube.objects import (
    EXPERIMENTAL_GROUP,
    STABLE_GROUP,
    UNREADABLE,
    Identity,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    ObjectList,
    Pod,
    identify,
)


def read(kind: type[Any], **members: Any) -> Any:
    """An object as it comes from the API server, with a name."""
    document = {"metadata": {"name": "a", "namespace": "ns"}, **members}
    return msgspec.json.decode(json.dumps(document), type=kind)


READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Initialized", "status": "False"}, READY]}, True),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, False),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, False),
        ({"conditions": []}, False),
        ({"conditions": None}, False),
        ({}, False),
    ],
)
def test_a_pod_is_ready_by_its_condition(status: dict[str, Any], expected: bool) -> None:
    pod = read(Pod, status=status, spec={"anything": [1, {"else": None}]})
    assert pod.is_ready is expected


def test_a_pod_tells_its_address_labels_and_end() -> None:
    metadata = {"name": "p", "labels": {"app": "x"}, "deletionTimestamp": "2026-11-26T15:00:00Z"}
    pod = read(Pod, metadata=metadata, status={"podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}]})
    assert (pod.name, pod.status.pod_ip, pod.is_terminating) == ("p", "fd00::1", True)
    assert pod.metadata.labels == {"app": "x"}
    assert not read(Pod).is_terminating
    assert read(Pod).status.pod_ip == ""


def test_both_versions_of_a_pool_tell_labels_and_ports() -> None:
    stable = read(
        InferencePool,
        spec={
            "selector": {"matchLabels": {"app": "x"}},
            "targetPorts": [{"number": 8000}, {"number": 8001}],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
        },
    )
    assert stable.selector(is_stable=True) == {"app": "x"}
    assert stable.ports == [8000, 8001]
    older = read(
        InferencePool,
        spec={"selector": {"app": "x"}, "targetPortNumber": 8000, "extensionRef": {"name": "epp"}},
    )
    assert older.selector(is_stable=False) == {"app": "x"}
    assert older.ports == [8000]


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": None}, {"matchLabels": {}}])
def test_a_pool_may_select_by_nothing(selector: Any) -> None:
    pool = read(InferencePool, spec={"selector": selector})
    assert pool.selector(is_stable=True) == {}
    assert pool.ports == []


def test_a_selector_of_the_other_version_is_refused() -> None:
    pool = read(InferencePool, spec={"selector": {"matchLabels": {"app": "x"}}})
    with pytest.raises(msgspec.ValidationError):
        pool.selector(is_stable=False)


def test_objectives_and_rewrites_have_their_defaults() -> None:
    objective = read(InferenceObjective, spec={"poolRef": {"name": "p"}})
    assert objective.spec.priority is None
    assert objective.spec.pool_ref.group == STABLE_GROUP
    reference = {"name": "p", "group": EXPERIMENTAL_GROUP, "kind": "InferencePool"}
    rule = {
        "matches": [{"model": {"type": "Exact", "value": "m"}}],
        "targets": [{"modelRewrite": "t", "weight": 3}, {"modelRewrite": "u"}],
    }
    rewrite = read(InferenceModelRewrite, spec={"poolRef": reference, "rules": [rule, {}]})
    first, second = rewrite.spec.rules
    assert first.matches[0].model.value == "m"
    assert [(t.model_rewrite, t.weight) for t in first.targets] == [("t", 3), ("u", None)]
    assert second.targets is second.split is second.matches is None


def test_one_broken_item_does_not_cost_the_list() -> None:
    answer = b'{"metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":5},{}]}'
    page = msgspec.json.decode(answer, type=ObjectList)
    assert (page.metadata.resource_version, page.metadata.continue_) == ("7", "c")
    assert page.items is not None
    assert [bytes(item) for item in page.items] == [b'{"metadata":5}', b"{}"]


DEEP = b'{"metadata":{"name":"a"},"x":' + b"[" * 5000 + b"]" * 5000 + b"}"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"metadata":{"name":"a","namespace":"n","resourceVersion":"7","labels":5}}', "n/a/7"),
        (b'{"metadata":{"name":"a"},"status":"\xff"}', "/a/"),
        (b'{"metadata":{"name":"\xff"}}', "//"),
        (b'{"metadata":{"name":5}}', "//"),
        (b'{"metadata":null}', "//"),
        (b"{}", "//"),
        (b"5", "//"),
        (b"", "//"),
        (DEEP, "//"),
    ],
)
def test_any_bytes_say_which_object_they_are_as_far_as_they_tell(raw: bytes, expected: str) -> None:
    about = identify(msgspec.Raw(raw))
    assert f"{about.namespace}/{about.name}/{about.resource_version}" == expected


@pytest.mark.parametrize("text", [b"{", b'{"metadata":5}', b'{"metadata":{"name":"\xff"}}', DEEP])
def test_what_decoding_may_raise_has_one_name(text: bytes) -> None:
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(text, type=Pod)
    assert identify(msgspec.Raw(b"")) == Identity()

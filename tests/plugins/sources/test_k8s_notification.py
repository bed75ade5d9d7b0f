from __future__ import annotations

import pytest

from epp.core.datalayer import NODE, ObjectKind
from epp.plugins.sources.k8s_notification import K8sNotificationSource, K8sNotificationSourceParams
from tests.fakes import make_handle


def test_objects_are_delivered_under_the_name_of_their_kind() -> None:
    params = K8sNotificationSourceParams(version="v1", kind="Node")
    source = K8sNotificationSource(params, make_handle())
    assert (source.reading, source.delivers) == (NODE, "v1 Node")
    other = K8sNotificationSourceParams(group="apps", version="v1", kind="Deployment")
    source = K8sNotificationSource(other, make_handle())
    assert source.reading == ObjectKind("apps", "v1", "Deployment")


@pytest.mark.parametrize(
    ("group", "kind", "hints"), [("", "Node", 0), ("", "Pod", 1), ("x", "Node", 1)]
)
def test_a_kind_that_nobody_reads_is_hardly_meant(group: str, kind: str, hints: int) -> None:
    params = K8sNotificationSourceParams(group=group, version="v1", kind=kind)
    assert len(list(params.hints())) == hints

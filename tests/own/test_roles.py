from __future__ import annotations

from epp.core.plugin import (
    Discovery,
    EndpointListener,
    PreRequest,
    ResponseObserver,
    Scorer,
)
from epp.own.roles import ROLES, methods_of, missing, overridden, roles_of


class Half(Scorer, PreRequest, EndpointListener):
    def pre_request(self, request: object, result: object) -> None:
        pass


class Watcher(ResponseObserver):
    pass


def test_every_role_of_the_core_is_known_with_what_the_picker_calls() -> None:
    points = {role.__name__: sorted(methods_of(role)) for role in ROLES}
    assert points["Scorer"] == ["score"]
    assert points["ProfileHandler"] == ["combine", "select"]
    assert points["ResponseObserver"] == ["response_chunk", "response_ended"]
    assert points["DataProducer"] == ["produce"]
    assert points["Discovery"] == []
    assert "Plugin" not in points


def test_what_a_class_lacks_is_told_by_role_and_method() -> None:
    assert roles_of(Half) == [Scorer, PreRequest, EndpointListener]
    assert overridden(Half, PreRequest) == ["pre_request"]
    assert list(missing(Half)) == ["Scorer.score", "EndpointListener.endpoint_removed"]


def test_what_has_a_default_may_be_left_out() -> None:
    assert list(missing(Watcher)) == []
    assert list(missing(Discovery)) == []

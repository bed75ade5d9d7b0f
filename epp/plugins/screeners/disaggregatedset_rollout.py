"""``disaggregatedset-rollout-screener``: keep prefill and decode on one revision of a roll-out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import ServiceUnavailableError
from epp.core.plugin import (
    Handle,
    Params,
    ResponseHeaderProcessor,
    Screener,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest, header_text
from epp.core.response import ResponseStart
from epp.core.selector import LabelSelector


class Scope(msgspec.Struct, frozen=True, rename="camel"):
    """Which endpoints belong to the set."""

    label_selector: LabelSelector


class SelectorMode(StrEnum):
    """What a header means that no endpoint fits."""

    STRICT = "strict"
    PREFER = "prefer"


class HeaderSelector(msgspec.Struct, frozen=True, rename="camel"):
    """A header whose value a label must have."""

    name: Annotated[str, Meta(min_length=1)]
    header_name: Annotated[str, Meta(min_length=1)]
    label_key: Annotated[str, Meta(min_length=1)]
    mode: SelectorMode


class GatingMode(StrEnum):
    """How the chances of revisions are weighed."""

    SUM = "sum"
    MAX_ROLE = "max-role"
    DISABLED = "disabled"


class RequiredRoles(msgspec.Struct, frozen=True):
    """The roles that a revision cannot do without."""

    values: tuple[str, ...] = ()


class RevisionGating(msgspec.Struct, frozen=True, rename="camel"):
    """How one revision is drawn."""

    mode: GatingMode
    revision_label_key: str = "disaggregatedset.x-k8s.io/revision"
    role_label_key: str = "disaggregatedset.x-k8s.io/role"
    require_roles: RequiredRoles = RequiredRoles()


class DisaggregatedSetRolloutScreenerParams(Params, frozen=True):
    """The set, its headers, and how its revisions are drawn."""

    scope: Annotated[Scope, Meta(description="The set's endpoints.")]
    revision_gating: Annotated[RevisionGating, Meta(description="How revisions are drawn.")]
    header_selectors: Annotated[
        tuple[HeaderSelector, ...], Meta(description="Headers that pin a label.")
    ] = ()

    def problems(self) -> Iterable[tuple[str, str]]:
        for place, rule in self.scope.label_selector.problems():
            yield f"scope.labelSelector.{place}", rule
        gating = self.revision_gating
        if gating.mode is not GatingMode.DISABLED and not gating.require_roles.values:
            yield "revisionGating.requireRoles.values", "expected at least one role"


@plugin(
    "disaggregatedset-rollout-screener",
    params=DisaggregatedSetRolloutScreenerParams,
    stability=Stability.ALPHA,
)
class DisaggregatedSetRolloutScreener(Screener, ResponseHeaderProcessor):
    """Draw one revision of the set for each request, and screen out all other endpoints.

    A revision without an endpoint for each of the required roles is no candidate. Its chance is in
    proportion to its ready pods: those of all required roles (``sum``), or of the one that has most
    over all revisions (``max-role``). A header pins the label of its selector before that; where
    nothing fits, the request is refused (``strict``) or the header has no say (``prefer``). The
    answer's headers tell the labels of the endpoint that served, for requests that are to follow.

    Differs: it sees the pool's endpoints, all of which are ready; upstream watches the pods of the
    namespace, those outside of the pool too, and refuses requests until it has seen them.

    Source: llm-d-router v0.10, disaggregatedset-rollout-screener.
    """

    def __init__(self, params: DisaggregatedSetRolloutScreenerParams, handle: Handle) -> None:
        gating = params.revision_gating
        self._scope = params.scope.label_selector.compiled()
        self._selectors = [
            (selector, selector.header_name.lower()) for selector in params.header_selectors
        ]
        self._mode = gating.mode
        self._revision_label = gating.revision_label_key
        self._role_label = gating.role_label_key
        self._roles = gating.require_roles.values
        self._random = handle.random
        self._probe = handle.probe
        self._reported: Mapping[str, float] = {}

    def screen(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        members = [e for e in endpoints if self._scope.matches(e.labels)]
        fitting = self._pinned(request, members, SelectorMode.STRICT)
        preferred = self._pinned(request, fitting, SelectorMode.PREFER)
        if self._mode is not GatingMode.DISABLED:
            return self._of_one_revision(preferred, fitting, is_pinned=preferred is not members)
        if not members:
            raise ServiceUnavailableError("no endpoint belongs to the disaggregated set")
        return preferred

    def response_headers(
        self, request: InferenceRequest, result: SchedulingResult, response: ResponseStart
    ) -> Iterable[tuple[str, bytes]]:
        picked = result.picked
        if not picked:
            return ()
        served = next((e for e in picked if e.destination == response.served), picked[0])
        return [
            (header, value.encode())
            for selector, header in self._selectors
            if (value := served.labels.get(selector.label_key))
        ]

    def _pinned(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint], mode: SelectorMode
    ) -> Sequence[Endpoint]:
        """Those that fit the headers of this mode."""
        for selector, header in self._selectors:
            value = header_text(request.headers, header) if selector.mode is mode else ""
            if not value:
                continue
            fitting = [e for e in endpoints if e.labels.get(selector.label_key) == value]
            if fitting:
                endpoints = fitting
            elif mode is SelectorMode.STRICT:
                self._probe.pin_unmatched(self.type, self.name, selector.name)
                raise ServiceUnavailableError(f"no endpoint fits the header {selector.header_name}")
        return endpoints

    def _of_one_revision(
        self, preferred: Sequence[Endpoint], fitting: Sequence[Endpoint], *, is_pinned: bool
    ) -> Sequence[Endpoint]:
        chosen, weights = preferred, self._weights(preferred)
        if not weights and preferred is not fitting:
            chosen, weights = fitting, self._weights(fitting)
        if not is_pinned:
            self._report(weights)
        if not weights:
            raise ServiceUnavailableError("no revision has an endpoint for each required role")
        (revision,) = self._random.choices(list(weights), list(weights.values()))
        return [e for e in chosen if e.labels.get(self._revision_label) == revision]

    def _weights(self, endpoints: Sequence[Endpoint]) -> dict[str, int]:
        """What the complete revisions weigh."""
        pods: dict[str, dict[str, set[str]]] = {}
        for endpoint in endpoints:
            revision = endpoint.labels.get(self._revision_label)
            role = endpoint.labels.get(self._role_label)
            if revision and role in self._roles:
                of_revision = pods.setdefault(revision, {role: set() for role in self._roles})
                of_revision[role].add(_pod(endpoint))
        if self._mode is GatingMode.SUM:
            weighed: Iterable[str] = self._roles
        else:
            totals = {role: sum(len(p[role]) for p in pods.values()) for role in self._roles}
            weighed = [max(totals, key=lambda role: totals[role])]
        return {
            revision: sum(len(by_role[role]) for role in weighed)
            for revision, by_role in pods.items()
            if all(by_role.values())
        }

    def _report(self, weights: Mapping[str, int]) -> None:
        """Tell the revisions' chances whenever they change."""
        whole = sum(weights.values())
        shares = {revision: weight / whole for revision, weight in weights.items()}
        if shares != self._reported:
            self._reported = shares
            self._probe.revisions_weighed(self.type, self.name, self._mode, shares)


def _pod(endpoint: Endpoint) -> str:
    """What tells its pod; several ports of one are several endpoints."""
    return f"{endpoint.namespace}/{endpoint.pod}" if endpoint.pod else endpoint.id

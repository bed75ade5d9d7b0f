"""What a pool, a rewrite rule and a pod's annotation mean, or why they cannot be meant.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/datastore.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from epp.core.selector import Selector
from epp.datastore.rewrites import Rewrite, RewriteTarget
from epp.kube.objects import InferencePool, RewriteRule

ACTIVE_PORTS = ("llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports")
MAX_PORT = 65535
MAX_WEIGHT = 1_000_000
_LEADING_NUMBER = re.compile(r"\s*([0-9]{1,9})")


class Membership(msgspec.Struct, frozen=True):
    """Which pods belong to the pool, and on which ports they serve."""

    selector: Selector
    ports: Sequence[int]


def read_membership(pool: InferencePool, *, is_stable: bool) -> Membership:
    """Which pods a pool means.

    Differs: a selector without labels, which the older version of the API allows, would take every
    pod of the namespace, the picker's own included; it is refused.

    Raises:
        ValueError: nothing can be meant by it; the text names the field and the rule.
    """
    try:
        labels = pool.selector(is_stable=is_stable)
    except msgspec.DecodeError as error:
        raise ValueError(f"spec.selector: {error}") from None
    if not labels:
        place = "spec.selector.matchLabels" if is_stable else "spec.selector"
        raise ValueError(f"{place}: must have at least one label")
    ports = pool.ports
    place = "spec.targetPorts" if is_stable else "spec.targetPortNumber"
    if not ports:
        raise ValueError(f"{place}: must name at least one port")
    for port in ports:
        if not 1 <= port <= MAX_PORT:
            raise ValueError(f"{place}: {port} is not within 1..{MAX_PORT}")
    if len(set(ports)) != len(ports):
        raise ValueError(f"{place}: port numbers must be unique")
    return Membership(selector=Selector.of(labels), ports=tuple(ports))


def read_rewrite(name: str, rule: RewriteRule) -> Rewrite:
    """One rule of the object ``name``.

    Targets without a weight, or with 0, are never chosen where others have one; where none has one,
    all are alike. Differs: where all have 0 the router takes them for alike, too.

    Raises:
        ValueError: nothing can be meant by it; the text names the field and the rule.
    """
    # Differs: the router knows only the newer of the field's two names.
    targets = rule.targets if rule.targets is not None else rule.split
    if not targets:
        raise ValueError("spec.rules[].targets: must name at least one model")
    weights = [target.weight or 0 for target in targets]
    if not 0 <= min(weights) <= max(weights) <= MAX_WEIGHT:
        raise ValueError(f"spec.rules[].targets[].weight: must be within 0..{MAX_WEIGHT}")
    if all(target.weight is None for target in targets):
        weights = [1] * len(targets)
    if not any(weights):
        raise ValueError("spec.rules[].targets[].weight: must not be 0 for every target")
    if any(not target.model_rewrite for target in targets):
        raise ValueError("spec.rules[].targets[].modelRewrite: must not be empty")
    return Rewrite(
        name=name,
        models=tuple(match.model.value for match in rule.matches or ()),
        targets=tuple(
            RewriteTarget(model=target.model_rewrite, weight=weight)
            for target, weight in zip(targets, weights, strict=True)
            if weight
        ),
    )


def active_ports(annotations: Mapping[str, str]) -> frozenset[int] | None:
    """The ports that a pod's annotation leaves active; None where it has none.

    Source: llm-d-router v0.10, pkg/epp/datastore.
    """
    for key in ACTIVE_PORTS:
        if key in annotations:
            found = (_LEADING_NUMBER.match(item) for item in annotations[key].split(","))
            return frozenset(int(match[1]) for match in found if match)
    return None

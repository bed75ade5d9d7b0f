"""The part of the work that an endpoint does where encode, prefill and decode are apart.

Source: llm-d-router v0.10, pkg/epp/framework/plugins/scheduling/filter/bylabel/roles.go.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epp.core.endpoint import Endpoint

ROLE_LABEL = "llm-d.ai/role"


class Role(msgspec.Struct, frozen=True):
    """A part of the work: the values of the label that stand for it.

    ``is_default`` is whether an endpoint without the label does it.
    """

    values: frozenset[str]
    is_default: bool = False

    def among(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Those who do it."""
        kept = []
        for endpoint in endpoints:
            value = endpoint.labels.get(ROLE_LABEL)
            if self.is_default if value is None else value in self.values:
                kept.append(endpoint)
        return kept


DECODE = Role(
    frozenset({"decode", "prefill-decode", "both", "encode-prefill-decode"}), is_default=True
)
PREFILL = Role(
    frozenset({"prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"})
)
ENCODE = Role(frozenset({"encode", "encode-prefill", "encode-prefill-decode"}))

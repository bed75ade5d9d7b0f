"""The parameter that all pickers share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from epp.core.plugin import Params


class PickerParams(Params, frozen=True):
    """How many endpoints to return.

    Zero and negative numbers mean 1, as in the 2025 release.
    """

    max_num_of_endpoints: Annotated[int, Meta(description="Endpoints to return.")] = 1

    @property
    def limit(self) -> int:
        """The number of endpoints to return, at least 1."""
        return max(1, self.max_num_of_endpoints)

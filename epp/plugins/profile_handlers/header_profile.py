"""``header-profile-handler``: the request names its profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Handle, Params, ProfileHandler, Stability, plugin
from epp.core.request import InferenceRequest, header_text


class HeaderProfileHandlerParams(Params, frozen=True):
    """Where the name stands, and what runs without one."""

    header_name: Annotated[str, Meta(min_length=1, description="The header, in any case.")] = (
        "EPP-Profile"
    )
    default_profile: Annotated[str, Meta(description="What a request without it gets.")] = "decode"


@plugin("header-profile-handler", params=HeaderProfileHandlerParams, stability=Stability.ALPHA)
class HeaderProfileHandler(ProfileHandler):
    """Run the profile that a header names; where there is only one, that one.

    A name that no profile has runs nothing, and the request is refused.

    Source: llm-d-router v0.10, profilehandler/header.
    """

    def __init__(self, params: HeaderProfileHandlerParams, handle: Handle) -> None:
        self._header = params.header_name.lower()
        self._default = params.default_profile

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        if results:
            return ()
        if len(profiles) == 1:
            return profiles
        name = header_text(request.headers, self._header).strip() or self._default
        return (name,) if name in profiles else ()

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        for name, run in results.items():
            if run is not None:
                return SchedulingResult(primary=name, profiles=results)
        raise ResourceExhaustedError(
            f"failed to find target pod: failed to run scheduler profile '{', '.join(results)}'"
        )

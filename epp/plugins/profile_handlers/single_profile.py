"""``single-profile-handler``: one profile, and its result counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import NoParams, ProfileHandler, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("single-profile-handler", params=NoParams, stability=Stability.BETA)
class SingleProfileHandler(ProfileHandler):
    """Run the only profile once.

    Source: gateway-api-inference-extension 2aaf2a6, profile/single_profile_handler.go.
    """

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        return () if len(results) == len(profiles) else profiles

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        if len(results) != 1:
            raise ResourceExhaustedError(
                "failed to find target pod: single profile handler is intended to be used with a "
                "single profile, failed to process multiple profiles"
            )
        (name, run), *_ = results.items()
        if run is None:
            raise ResourceExhaustedError(
                f"failed to find target pod: failed to run scheduler profile '{name}'"
            )
        return SchedulingResult(primary=name, profiles=results)

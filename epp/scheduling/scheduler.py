"""The loop between a profile handler and its profiles."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import EppError, ResourceExhaustedError
from epp.core.plugin import ProfileHandler
from epp.core.probe import Probe
from epp.core.request import InferenceRequest
from epp.scheduling.profile import Profile


class Scheduler:
    """Runs the profiles that the handler selects until it selects none.

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/scheduling/scheduler.go.
    """

    def __init__(self, handler: ProfileHandler, profiles: Sequence[Profile], probe: Probe) -> None:
        self.handler = handler
        self.profiles = {profile.name: profile for profile in profiles}
        self._names = tuple(self.profiles)
        self._select_ran = probe.plugin_timer("ProfilePicker", handler.type, handler.name)
        self._combine_ran = probe.plugin_timer("ProcessProfilesResults", handler.type, handler.name)
        self._probe = probe

    def schedule(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> SchedulingResult:
        """The endpoints that shall serve the request, with the reasons.

        Raises:
            ResourceExhaustedError: no profile found an endpoint.
        """
        started = perf_counter()
        picked: tuple[Endpoint, ...] = ()
        try:
            result = self._schedule(request, endpoints)
            picked = result.picked
            return result
        finally:
            self._probe.scheduled(
                perf_counter() - started, request.target_model, picked[0] if picked else None
            )

    def _schedule(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> SchedulingResult:
        results: dict[str, ProfileRun | None] = {}
        while selected := self._select(request, results):
            for name in selected:
                results[name] = self._run(self.profiles[name], request, endpoints)
        if not results:
            raise ResourceExhaustedError(
                "failed to find target pod: failed to run any scheduler profile for request "
                f"{request.request_id}"
            )
        started = perf_counter()
        result = self.handler.combine(request, results)
        self._combine_ran(perf_counter() - started)
        return result

    def _select(
        self, request: InferenceRequest, results: dict[str, ProfileRun | None]
    ) -> Sequence[str]:
        started = perf_counter()
        selected = self.handler.select(request, self._names, results)
        self._select_ran(perf_counter() - started)
        return selected

    @staticmethod
    def _run(
        profile: Profile, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> ProfileRun | None:
        try:
            return profile.run(request, endpoints)
        except EppError:
            return None  # the handler decides what a failed profile means

"""The loop between a profile handler and its profiles."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from epp.core.call import PluginCall
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import EppError, ResourceExhaustedError
from epp.core.plugin import ProfileHandler
from epp.core.probe import Probe
from epp.core.request import InferenceRequest
from epp.scheduling.profile import Profile


class Scheduler:
    """Runs the profiles that the handler selects until it selects none.

    If the handler fails or is set aside, what the profiles found so far counts, the first of them
    first; if they did not run yet, the first of them runs.

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/scheduling/scheduler.go.
    """

    def __init__(self, handler: ProfileHandler, profiles: Sequence[Profile], probe: Probe) -> None:
        self.handler = handler
        self.profiles = {profile.name: profile for profile in profiles}
        self._names = tuple(self.profiles)
        self._select = PluginCall(handler, "ProfilePicker", probe)
        self._combine = PluginCall(handler, "ProcessProfilesResults", probe)
        self._probe = probe

    def schedule(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> SchedulingResult:
        """The endpoints that shall serve the request, with the reasons.

        Raises:
            EppError: no profile found an endpoint, or the handler refuses.
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
        while selected := self._next(request, results):
            for name in selected:
                results[name] = self._run(self.profiles[name], request, endpoints)
        if not results:
            raise ResourceExhaustedError(
                "failed to find target pod: failed to run any scheduler profile for request "
                f"{request.request_id}"
            )
        call = self._combine
        if call.is_aside:
            return _first_of(results)
        started = perf_counter()
        try:
            result = self.handler.combine(request, results)
            if not result.picked:
                raise LookupError(f"named a profile without result: {result.primary}")
        except EppError:
            raise
        except Exception as error:
            call.failed(error)
            return _first_of(results)
        call.ran(perf_counter() - started)
        return result

    def _next(
        self, request: InferenceRequest, results: dict[str, ProfileRun | None]
    ) -> Sequence[str]:
        """The profiles to run now.

        One that has run is not run again, else a handler could go on for ever.
        """
        call = self._select
        if call.is_aside:
            return () if results else self._names[:1]
        started = perf_counter()
        try:
            selected = tuple(self.handler.select(request, self._names, results))
            for name in selected:
                if name not in self.profiles:
                    raise LookupError(f"selected a profile that is none: {name}")
        except EppError:
            raise
        except Exception as error:
            call.failed(error)
            return () if results else self._names[:1]
        call.ran(perf_counter() - started)
        return [name for name in selected if name not in results] if results else selected

    @staticmethod
    def _run(
        profile: Profile, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> ProfileRun | None:
        try:
            return profile.run(request, endpoints)
        except EppError:
            return None  # the handler decides what a failed profile means


def _first_of(results: dict[str, ProfileRun | None]) -> SchedulingResult:
    for name, run in results.items():
        if run is not None:
            return SchedulingResult(primary=name, profiles=results)
    raise ResourceExhaustedError("failed to find target pod: no profile found an endpoint")

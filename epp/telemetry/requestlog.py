"""One log line per request: where it went, or why it did not."""

from __future__ import annotations

import logging

from epp.core.decision import Decision
from epp.core.probe import Probe
from epp.core.request import RequestKey
from epp.telemetry import logs

logger = logging.getLogger("director")

_VERBOSE = logs.level(logs.VERBOSE)


class RequestLog(Probe):
    """Logs decisions at V(3) and failures at V(2), with the keys that operators search for.

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/requestcontrol/director.go.
    """

    def decided(self, decision: Decision) -> None:
        if not logger.isEnabledFor(_VERBOSE):
            return  # before the fields are gathered
        request = decision.request
        logs.log(
            logger,
            logs.VERBOSE,
            "Request handled",
            **{"x-request-id": request.request_id},
            incomingModelName=request.incoming_model,
            targetModelName=request.target_model,
            priority=request.priority,
            endpoint=decision.destination,
        )

    def request_failed(self, key: RequestKey, code: str) -> None:
        logs.log(
            logger,
            logs.DEFAULT,
            "Request failed",
            incomingModelName=key.model,
            targetModelName=key.target,
            code=code,
        )

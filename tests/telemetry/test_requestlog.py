from __future__ import annotations

import io
import json

import pytest

from epp.core.decision import Decision, SchedulingResult
from epp.core.request import RequestKey
from epp.telemetry import logs
from epp.telemetry.requestlog import RequestLog
from tests.fakes import make_endpoint, make_request, make_run


@pytest.mark.parametrize(("verbosity", "lines"), [(1, 0), (2, 1), (3, 2), (4, 2)])
def test_a_request_is_at_most_one_line_from_its_verbosity_on(verbosity: int, lines: int) -> None:
    stream = io.StringIO()
    logs.setup(verbosity=verbosity, stream=stream)
    request, endpoint = make_request(), make_endpoint("a")
    result = SchedulingResult("p", {"p": make_run(endpoint, picked=[endpoint])})
    log = RequestLog()
    log.request_failed(RequestKey("m", "t"), "BadRequest")
    log.decided(Decision(request, result, "10.0.0.1:8000", (), b"secret prompt"))
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(written) == lines
    if written:
        assert (written[0]["msg"], written[0]["code"]) == ("Request failed", "BadRequest")
        assert (written[0]["incomingModelName"], written[0]["targetModelName"]) == ("m", "t")
    if len(written) == 2:
        assert written[1]["endpoint"] == "10.0.0.1:8000"
        assert written[1]["x-request-id"] == request.request_id
    assert "secret" not in stream.getvalue()

from __future__ import annotations

from epp.core.endpoint import Endpoint
from epp.plugins.deciders.always_disagg_pd import AlwaysDisaggPdDecider
from tests.fakes import make_endpoint, make_request


def test_every_request_is_prefilled_elsewhere() -> None:
    endpoints: list[Endpoint | None] = [make_endpoint("a"), None]
    for endpoint in endpoints:
        assert AlwaysDisaggPdDecider().decide(make_request(), endpoint)
        assert AlwaysDisaggPdDecider().decide(make_request(prompt=None), endpoint)

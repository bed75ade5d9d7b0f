from random import Random

from epp.simulator.failures import injected_failure
from tests.simulator.fakes import options


def test_every_request_fails_at_one_hundred_percent_in_all_ways() -> None:
    chosen = options("--model", "m", "--failure-injection-rate", "100")
    random = Random(1)
    failures = [injected_failure(chosen, random) for _ in range(200)]
    statuses = {failure.status for failure in failures if failure is not None}
    assert None not in failures
    assert statuses == {400, 401, 404, 429, 503}


def test_only_the_chosen_types_happen_at_about_the_rate() -> None:
    chosen = options(*"--model m --failure-injection-rate 30 --failure-types rate_limit".split())  # noqa: SIM905
    random = Random(1)
    failures = [injected_failure(chosen, random) for _ in range(1000)]
    hit = [failure for failure in failures if failure is not None]
    assert 250 < len(hit) < 350
    assert {failure.status for failure in hit} == {429}

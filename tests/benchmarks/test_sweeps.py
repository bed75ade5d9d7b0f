from __future__ import annotations

import msgspec

from benchmarks import sweeps
from benchmarks.figures import Sample
from benchmarks.sweeps import Effort


def test_a_rate_that_is_missed_by_a_tenth_ends_the_curve() -> None:
    case = sweeps.rate_case(100, seconds=2.0)
    assert sweeps.is_saturated(case, Sample(value=1.0, requests_per_second=89.0))
    assert not sweeps.is_saturated(case, Sample(value=1.0, requests_per_second=91.0))


def test_plans_are_bounded_by_time_and_not_by_requests() -> None:
    effort = Effort.of(quick=True)
    plans = [sweeps.stream_case(n, effort.seconds).plan(1) for n in effort.streams]
    plans += [sweeps.prompt_case(n, effort.seconds).plan(1) for n in effort.prompts]
    plans += [sweeps.rate_case(n, effort.seconds).plan(1) for n in effort.rates]
    assert {plan.seconds for plan in plans} == {effort.seconds}
    assert [plan.rate for plan in plans[-len(effort.rates) :]] == list(effort.rates)


def test_quick_runs_keep_the_ends_of_every_axis() -> None:
    full, quick = (msgspec.structs.asdict(Effort.of(quick=quick)) for quick in (False, True))
    for name in ("prompts", "streams", "pods"):
        assert (full[name][0], full[name][-1]) == (quick[name][0], quick[name][-1])
        assert len(quick[name]) < len(full[name])

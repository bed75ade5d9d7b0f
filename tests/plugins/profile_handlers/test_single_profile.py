from __future__ import annotations

import pytest

from epp.core.decision import ProfileRun
from epp.core.errors import ResourceExhaustedError
from epp.plugins.profile_handlers.single_profile import SingleProfileHandler
from tests.fakes import endpoints, make_request, make_run

A, B = endpoints(1, 2)
RUN = make_run(A, B, picked=[B])


@pytest.mark.parametrize(
    ("results", "selected"), [({}, ["default"]), ({"default": RUN}, []), ({"default": None}, [])]
)
def test_the_profile_runs_once(results: dict[str, ProfileRun | None], selected: list[str]) -> None:
    handler = SingleProfileHandler()
    assert list(handler.select(make_request(), ("default",), results)) == selected


def test_the_result_of_the_profile_counts() -> None:
    result = SingleProfileHandler().combine(make_request(), {"default": RUN})
    assert (result.primary, result.picked) == ("default", (B,))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            {"default": None},
            "failed to find target pod: failed to run scheduler profile 'default'",
        ),
        (
            {"one": RUN, "two": RUN},
            "failed to find target pod: single profile handler is intended to be used with a "
            "single profile, failed to process multiple profiles",
        ),
    ],
)
def test_without_one_result_there_is_no_endpoint(
    results: dict[str, ProfileRun | None], message: str
) -> None:
    with pytest.raises(ResourceExhaustedError) as raised:
        SingleProfileHandler().combine(make_request(), results)
    assert raised.value.message == message

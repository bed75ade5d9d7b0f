from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.core.decision import ProfileRun
from epp.core.errors import ResourceExhaustedError
from epp.plugins.profile_handlers.header_profile import (
    HeaderProfileHandler,
    HeaderProfileHandlerParams,
)
from tests.fakes import endpoints, make_handle, make_request, make_run

A, B = endpoints(1, 2)
RUN = make_run(A, B, picked=[B])
PROFILES = ("encode", "prefill", "decode")


def handler(**params: str) -> HeaderProfileHandler:
    return HeaderProfileHandler(HeaderProfileHandlerParams(**params), make_handle())


@pytest.mark.parametrize(
    ("headers", "selected"),
    [
        ({}, ["decode"]),
        ({"epp-profile": b""}, ["decode"]),
        ({"epp-profile": b"  "}, ["decode"]),
        ({"epp-profile": b"prefill"}, ["prefill"]),
        ({"epp-profile": b" encode "}, ["encode"]),
        ({"epp-profile": b"Prefill"}, []),
        ({"epp-profile": b"\xff"}, []),
    ],
)
def test_the_header_names_the_profile(headers: Mapping[str, bytes], selected: list[str]) -> None:
    request = make_request(headers=headers)
    assert list(handler().select(request, PROFILES, {})) == selected


def test_header_and_default_can_be_chosen() -> None:
    chosen = handler(header_name="X-Stage", default_profile="prefill")
    assert list(chosen.select(make_request(), PROFILES, {})) == ["prefill"]
    request = make_request(headers={"x-stage": b"encode", "epp-profile": b"decode"})
    assert list(chosen.select(request, PROFILES, {})) == ["encode"]


def test_the_only_profile_runs_whatever_the_header_says() -> None:
    request = make_request(headers={"epp-profile": b"prefill"})
    assert list(handler().select(request, ("other",), {})) == ["other"]


@pytest.mark.parametrize("run", [RUN, None])
def test_a_profile_runs_once(run: ProfileRun | None) -> None:
    assert list(handler().select(make_request(), PROFILES, {"decode": run})) == []


def test_the_result_of_the_profile_counts() -> None:
    result = handler().combine(make_request(), {"prefill": RUN})
    assert (result.primary, result.picked) == ("prefill", (B,))


@pytest.mark.parametrize("results", [{"decode": None}, {}])
def test_without_a_result_there_is_no_endpoint(results: Mapping[str, ProfileRun | None]) -> None:
    with pytest.raises(ResourceExhaustedError):
        handler().combine(make_request(), results)

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import ServiceUnavailableError
from epp.core.response import ResponseStart
from epp.plugins.screeners.disaggregatedset_rollout import (
    DisaggregatedSetRolloutScreener,
    DisaggregatedSetRolloutScreenerParams,
)
from tests.fakes import FakeProbe, make_endpoint, make_handle, make_request, make_run

REVISION = "disaggregatedset.x-k8s.io/revision"
ROLE = "disaggregatedset.x-k8s.io/role"
GATING = {"mode": "sum", "requireRoles": {"values": ["prefill", "decode"]}}
BY_REVISION = {"name": "r", "headerName": "X-Revision", "labelKey": REVISION, "mode": "strict"}
BY_ZONE = {"name": "z", "headerName": "x-zone", "labelKey": "zone", "mode": "prefer"}


def params(
    gating: Mapping[str, Any], *selectors: Mapping[str, Any], **labels: str
) -> DisaggregatedSetRolloutScreenerParams:
    fields = {
        "scope": {"labelSelector": {"matchLabels": labels}},
        "revisionGating": gating,
        "headerSelectors": selectors,
    }
    return msgspec.convert(fields, DisaggregatedSetRolloutScreenerParams)


def make_screener(
    *args: Any, probe: FakeProbe | None = None, **labels: str
) -> DisaggregatedSetRolloutScreener:
    gating, *selectors = args or [GATING]
    chosen = params(gating, *selectors, **labels)
    return DisaggregatedSetRolloutScreener(chosen, make_handle(probe=probe))


def rollout(**counts: tuple[int, int]) -> list[Endpoint]:
    """So many that prefill and that decode, by revision; names are like ``new-decode-0``."""
    return [
        make_endpoint(f"{revision}-{role}-{i}", labels={REVISION: revision, ROLE: role})
        for revision, (prefills, decodes) in counts.items()
        for role, count in (("prefill", prefills), ("decode", decodes))
        for i in range(count)
    ]


def screened(
    screener: DisaggregatedSetRolloutScreener, members: Sequence[Endpoint], **headers: bytes
) -> set[str]:
    request = make_request(headers={f"x-{name}": value for name, value in headers.items()})
    return {e.labels.get(REVISION, "") for e in screener.screen(request, members)}


def drawn(
    screener: DisaggregatedSetRolloutScreener, members: Sequence[Endpoint], rounds: int = 2000
) -> dict[str, float]:
    """How often each revision is drawn."""
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        counts.update(screened(screener, members))
    assert counts.total() == rounds
    return {revision: count / rounds for revision, count in counts.items()}


def test_all_of_one_revision_stay() -> None:
    members = rollout(old=(2, 3), new=(2, 3))
    kept = make_screener().screen(make_request(), members)
    assert list(kept) in (members[:5], members[5:])


@pytest.mark.parametrize(
    ("mode", "counts", "expected"),
    [
        ("sum", {"old": (2, 4), "new": (1, 1)}, {"old": 0.75, "new": 0.25}),
        ("max-role", {"old": (2, 4), "new": (1, 1)}, {"old": 0.8, "new": 0.2}),
        ("max-role", {"old": (1, 6), "new": (4, 1)}, {"old": 6 / 7, "new": 1 / 7}),
        ("max-role", {"old": (3, 1), "new": (1, 1)}, {"old": 0.75, "new": 0.25}),
        ("sum", {"old": (5, 5), "new": (0, 9)}, {"old": 1.0}),
        ("max-role", {"old": (5, 5), "new": (9, 0)}, {"old": 1.0}),
    ],
)
def test_a_complete_revision_is_drawn_by_its_pods(
    mode: str, counts: dict[str, tuple[int, int]], expected: dict[str, float]
) -> None:
    probe = FakeProbe()
    screener = make_screener(GATING | {"mode": mode}, probe=probe)
    assert drawn(screener, rollout(**counts)) == pytest.approx(expected, abs=0.04)
    ((*labels, shares),) = probe.revisions
    assert labels == [screener.type, screener.name, mode]
    assert shares == pytest.approx(expected)


def test_ports_of_one_pod_count_once() -> None:
    ports = [
        msgspec.structs.replace(endpoint, pod=endpoint.name.rpartition("-")[0])
        for endpoint in rollout(old=(7, 7))
    ]
    assert drawn(make_screener(), [*ports, *rollout(new=(1, 1))]) == pytest.approx(
        {"old": 0.5, "new": 0.5}, abs=0.04
    )


@pytest.mark.parametrize(
    "members",
    [
        [],
        rollout(old=(0, 3), new=(3, 0)),
        [make_endpoint("plain")],
        [make_endpoint("no-role", labels={REVISION: "old"})],
    ],
)
def test_without_a_complete_revision_the_request_is_refused(members: list[Endpoint]) -> None:
    with pytest.raises(ServiceUnavailableError) as raised:
        make_screener().screen(make_request(), members)
    assert raised.value.status == 503


def test_what_is_out_of_scope_has_no_part_in_it() -> None:
    inside = [
        msgspec.structs.replace(e, labels={**e.labels, "app": "set"}) for e in rollout(old=(1, 1))
    ]
    outside = rollout(old=(1, 1), new=(9, 9))
    screener = make_screener(app="set")
    assert list(screener.screen(make_request(), [*outside, *inside])) == inside
    with pytest.raises(ServiceUnavailableError):
        screener.screen(make_request(), outside)


def test_a_strict_header_pins_the_revision() -> None:
    probe = FakeProbe()
    screener = make_screener(GATING, BY_REVISION, probe=probe)
    members = rollout(old=(1, 1), new=(9, 9), half=(0, 1))
    assert all(screened(screener, members, revision=b"old") == {"old"} for _ in range(50))
    assert probe.revisions == []
    assert probe.unmatched_pins == []
    with pytest.raises(ServiceUnavailableError):
        screened(screener, members, revision=b"older")
    assert probe.unmatched_pins == [(screener.type, screener.name, "r")]
    with pytest.raises(ServiceUnavailableError):
        screened(screener, members, revision=b"half")
    assert set(drawn(screener, members, rounds=200)) == {"old", "new"}


def test_a_preferred_header_pins_where_it_can() -> None:
    screener = make_screener(GATING, BY_ZONE)
    near = [
        msgspec.structs.replace(e, labels={**e.labels, "zone": "near"})
        for e in rollout(near=(1, 1))
    ]
    half = [
        msgspec.structs.replace(e, labels={**e.labels, "zone": "half"})
        for e in rollout(half=(1, 0))
    ]
    members = [*rollout(far=(20, 20)), *near, *half]
    assert all(screened(screener, members, zone=b"near") == {"near"} for _ in range(50))
    assert "far" in {r for _ in range(9) for r in screened(screener, members, zone=b"half")}
    assert "far" in {r for _ in range(9) for r in screened(screener, members, zone=b"nowhere")}


def test_without_gating_only_headers_screen() -> None:
    screener = make_screener({"mode": "disabled"}, BY_REVISION)
    members = rollout(old=(1, 0), new=(0, 1))
    assert list(screener.screen(make_request(), members)) == members
    assert screened(screener, members, revision=b"new") == {"new"}
    with pytest.raises(ServiceUnavailableError):
        screener.screen(make_request(), [])


def test_labels_can_have_other_keys() -> None:
    gating = GATING | {"revisionLabelKey": "rev", "roleLabelKey": "role"}
    members = [
        make_endpoint(role, labels={"rev": "r1", "role": role}) for role in ("prefill", "decode")
    ]
    assert list(make_screener(gating).screen(make_request(), members)) == members


def test_chances_are_told_when_they_change() -> None:
    probe = FakeProbe()
    screener = make_screener(probe=probe)
    for members in [rollout(old=(1, 1))] * 3 + [rollout(old=(1, 1), new=(1, 1))] * 3:
        screener.screen(make_request(), members)
    assert [shares for *_, shares in probe.revisions] == [{"old": 1.0}, {"old": 0.5, "new": 0.5}]


def stamped(served: str, *picked: Endpoint) -> list[tuple[str, bytes]]:
    screener = make_screener(GATING, BY_REVISION, BY_ZONE)
    result = SchedulingResult("p", {"p": make_run(*picked, picked=picked) if picked else None})
    response = ResponseStart({}, served)
    return list(screener.response_headers(make_request(None), result, response))


def test_an_answer_tells_the_labels_of_who_served_it() -> None:
    first = make_endpoint("a", address="10.0.0.1", labels={REVISION: "old", "zone": "x"})
    second = make_endpoint("b", address="10.0.0.2", labels={REVISION: "new"})
    old, new = [("x-revision", b"old"), ("x-zone", b"x")], [("x-revision", b"new")]
    assert stamped("10.0.0.1:8000", first, second) == old
    assert stamped("10.0.0.2:8000", first, second) == new
    assert stamped("", first, second) == old
    assert stamped("10.0.0.9:8000", first, second) == old
    assert stamped("10.0.0.1:8000") == []


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        (params({"mode": "sum"}), ["revisionGating.requireRoles.values"]),
        (params({"mode": "disabled"}), []),
        (params(GATING, **{"-": "x"}), ["scope.labelSelector.matchLabels"]),
    ],
)
def test_every_problem_is_told(
    wrong: DisaggregatedSetRolloutScreenerParams, places: list[str]
) -> None:
    assert [place for place, _ in wrong.problems()] == places


COUNTS = st.tuples(st.integers(0, 3), st.integers(0, 3))


@given(st.dictionaries(st.sampled_from("abc"), COUNTS), st.sampled_from(["sum", "max-role"]))
def test_whoever_stays_can_prefill_and_decode(
    counts: dict[str, tuple[int, int]], mode: str
) -> None:
    members = rollout(**counts)
    try:
        kept = make_screener(GATING | {"mode": mode}).screen(make_request(), members)
    except ServiceUnavailableError:
        assert not any(prefills and decodes for prefills, decodes in counts.values())
        return
    assert {e.labels[ROLE] for e in kept} == {"prefill", "decode"}
    (revision,) = {e.labels[REVISION] for e in kept}
    assert len(kept) == sum(counts[revision])

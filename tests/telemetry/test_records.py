from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import DEFAULT_FAIRNESS_ID, RequestKey
from epp.telemetry.labels import MAX_SERIES
from epp.telemetry.records import Records


def test_after_a_thousand_models_the_rest_is_other_but_not_those_that_are_pinned() -> None:
    records = Records({"pinned", "target"})

    def labels(model: str, target: str) -> tuple[str, str]:
        key = records[RequestKey(model, target)].key
        return key.model, key.target

    for number in range(MAX_SERIES):
        assert labels(f"m{number}", "t") == (f"m{number}", "t")
    for number in range(MAX_SERIES, MAX_SERIES + 50):
        assert labels(f"m{number}", "t") == ("other", "other")
    assert labels("m0", "t") == ("m0", "t")
    assert labels("pinned", "target") == ("pinned", "target")
    assert labels("pinned", "u") == ("pinned", "other")
    assert labels("x", "target") == ("other", "target")
    assert len(records) == len(records.by_models) == MAX_SERIES + 4


def test_pairs_of_pinned_models_take_no_place_from_others() -> None:
    names = [f"p{number}" for number in range(40)]
    records = Records(set(names))
    for model in names:
        for target in names:
            assert records[RequestKey(model, target)].key == RequestKey(model, target)
    assert records[RequestKey("m", "t")].key == RequestKey("m", "t")


def test_after_a_thousand_flows_the_rest_is_other_but_not_the_default() -> None:
    records = Records(())

    def flow(model: str, fairness_id: str, priority: int = 0) -> str:
        return records[RequestKey(model, "t", fairness_id, priority)].key.fairness_id

    for number in range(MAX_SERIES):
        assert flow("m", f"flow{number}") == f"flow{number}"
    for number in range(MAX_SERIES, MAX_SERIES + 50):
        assert flow("m", f"flow{number}") == "other"
    assert flow("m", "flow0") == "flow0"
    assert flow("m", "flow0", priority=1) == "other"
    assert flow("n", "flow0") == "other"
    assert flow("n", DEFAULT_FAIRNESS_ID) == DEFAULT_FAIRNESS_ID
    assert len(records) == MAX_SERIES + 4
    assert len(records.by_models) == 2


NAMES = st.text(st.characters(exclude_categories=()), max_size=3) | st.sampled_from(
    ["m" * 128 + "a", "m" * 128 + "b", "m\udcff"]
)
KEYS = st.builds(RequestKey, NAMES, NAMES, NAMES, st.integers(-1, 1))


@given(st.lists(KEYS, max_size=10))
def test_a_key_finds_the_same_record_every_time(keys: list[RequestKey]) -> None:
    records = Records(())
    found = [records[key] for key in keys]
    assert [records[key] for key in keys] == found
    assert len({record.labels for record in found}) == len(records)

from __future__ import annotations

from epp.core.data import CycleData, DataKey

SIZE: DataKey[int] = DataKey("size")


def test_what_was_never_set_is_none() -> None:
    assert CycleData().get(SIZE) is None


def test_a_later_value_replaces_an_earlier_one() -> None:
    data = CycleData()
    data.set(SIZE, 1)
    data.set(SIZE, 2)
    assert data.get(SIZE) == 2


def test_two_keys_of_one_name_do_not_meet() -> None:
    data = CycleData()
    data.set(SIZE, 1)
    other: DataKey[int] = DataKey("size")
    assert data.get(other) is None


def test_one_kind_of_data_may_come_from_several_producers() -> None:
    data = CycleData()
    assert data.every(SIZE) == []
    data.set(SIZE.of("a"), 1)
    data.set(SIZE.of("b"), 2)
    data.set(DataKey("colour"), "red")
    assert data.every(SIZE) == [1, 2]
    assert data.get(SIZE) is None


def test_a_key_prints_its_name() -> None:
    assert repr(SIZE) == "DataKey('size')"

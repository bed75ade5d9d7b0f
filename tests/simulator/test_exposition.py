import pytest

from epp.simulator.exposition import Histogram, label_text, number, sample


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1.0, "1"), (0.001, "0.001"), (2560.0, "2560"), (1e-9, "1e-09")]
)
def test_whole_numbers_have_no_fraction(value: float, text: str) -> None:
    assert number(value) == text


def test_a_sample_is_one_line() -> None:
    assert sample("up", label_text({"a": 'x"y', "b": ""}), 0.5) == r'up{a="x\"y",b=""} 0.5'


def test_a_histogram_adds_its_buckets_up() -> None:
    histogram = Histogram("h", 'm="x"', (1, 2.5))
    for value in (0.5, 1, 2, 9):
        histogram.observe(value)
    assert histogram.lines() == [
        'h_bucket{m="x",le="1"} 2',
        'h_bucket{m="x",le="2.5"} 3',
        'h_bucket{m="x",le="+Inf"} 4',
        'h_sum{m="x"} 12.5',
        'h_count{m="x"} 4',
    ]

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.telemetry.prefix_metrics import PrefixMetrics
from tests.telemetry.worlds import series

OLD, NEW = "inference_extension_prefix_indexer", "llm_d_epp_prefix_indexer"


def labels(name: str) -> str:
    return f'{{plugin_name="{name}",plugin_type="t"}}'


def test_each_plugin_has_its_series_and_the_older_ones_are_their_sums() -> None:
    registry = CollectorRegistry()
    metrics = PrefixMetrics(registry)
    metrics.prefix_matched("t", "a", 3, 4, 64)
    metrics.prefix_matched("t", "b", 1, 4, 16)
    metrics.prefix_index_sized("t", "a", 10)
    metrics.prefix_index_sized("t", "a", 12)
    metrics.prefix_index_sized("t", "b", 5)
    expected = {
        f"{NEW}_size{labels('a')}": 12,
        f"{NEW}_size{labels('b')}": 5,
        f"{OLD}_size": 17,
        f"{NEW}_hit_ratio_sum{labels('a')}": 0.75,
        f"{NEW}_hit_ratio_sum{labels('b')}": 0.25,
        f"{OLD}_hit_ratio_sum": 1.0,
        f"{OLD}_hit_ratio_count": 2,
        f"{NEW}_hit_bytes_sum{labels('a')}": 192,
        f"{OLD}_hit_bytes_sum": 208,
    }
    page = series(registry)
    assert {name: page.get(name) for name in expected} == expected


@pytest.mark.parametrize(("total_blocks", "ratios"), [(0, 0), (4, 1)])
def test_a_prompt_without_blocks_has_no_ratio(total_blocks: int, ratios: int) -> None:
    registry = CollectorRegistry()
    PrefixMetrics(registry).prefix_matched("t", "a", 0, total_blocks, 64)
    page = series(registry, OLD)
    assert page[f"{OLD}_hit_ratio_count"] == ratios
    assert page[f"{OLD}_hit_bytes_count"] == 1


def test_without_a_plugin_the_older_families_are_zero() -> None:
    registry = CollectorRegistry()
    PrefixMetrics(registry)
    page = series(registry)
    assert set(page.values()) == {0}
    assert all(name.startswith(OLD) for name in page)

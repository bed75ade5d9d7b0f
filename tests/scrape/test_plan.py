from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import epp.plugins
from epp.core.datalayer import DataLayer, DataSource, Extractor, SourceUse
from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine
from epp.core.errors import StartError
from epp.core.metricspec import MetricSpec
from epp.core.plugin import REGISTRY
from epp.scrape.plan import ScrapeSettings, plan_scraping
from tests.fakes import make_handle

epp.plugins.load()

FLAGS = ScrapeSettings(
    engine=Engine(waiting=MetricSpec("q")), interval_seconds=0.2, path="/flag", scheme="http"
)


def make(type_name: str, name: str = "", **values: Any) -> Any:
    declared = REGISTRY[type_name]
    params = msgspec.convert(values, declared.params, dec_hook=lambda to, value: to(value))
    plugin = declared.make(params, make_handle())
    plugin.bind(name or type_name)
    return plugin


def use(source: DataSource, *extractors: Extractor) -> SourceUse:
    return SourceUse(source, extractors)


def layer(*uses: SourceUse, **more: Any) -> DataLayer:
    return DataLayer(uses, **more)


METRICS = use(make("metrics-data-source"), make("core-metrics-extractor"))
DCGM = use(make("dcgm-data-source"), make("dcgm-extractor"))
MODELS = use(make("models-data-source"), make("models-data-extractor"))
NODES = use(make("k8s-notification-source", version="v1", kind="Node"), make("topology-extractor"))


@pytest.mark.parametrize("found", [None, DataLayer()])
def test_without_sources_all_endpoints_are_read_as_the_command_line_says(
    found: DataLayer | None,
) -> None:
    (source,) = plan_scraping(FLAGS, found)
    assert (source.type, source.path, source.port) == ("metrics-data-source", "/flag", None)
    assert (source.interval_seconds, source.timeout_seconds) == (0.2, 5.0)
    assert source.tls is None
    assert source.tells_load
    (extractor,) = source.extractors
    assert extractor.type == "core-metrics-extractor"
    reading: Any = extractor.reading
    labels = {ENGINE_LABELS[0]: "sglang"}
    assert reading.of(labels, source.engine) is FLAGS.engine


@pytest.mark.parametrize(
    ("found", "types"),
    [
        (layer(), ["metrics-data-source"]),
        (layer(DCGM), ["metrics-data-source", "dcgm-data-source"]),
        (layer(DCGM, has_defaults=False), ["dcgm-data-source"]),
        (layer(MODELS, METRICS), ["models-data-source", "metrics-data-source"]),
        (layer(NODES), ["metrics-data-source"]),
        (layer(use(make("dcgm-data-source")), has_defaults=False), []),
        (
            layer(use(make("metrics-data-source", "mine"), make("core-metrics-extractor"))),
            ["metrics-data-source", "metrics-data-source"],
        ),
    ],
)
def test_the_usual_metrics_are_added_unless_a_source_has_their_name(
    found: DataLayer, types: Sequence[str]
) -> None:
    assert [source.type for source in plan_scraping(FLAGS, found)] == types


@pytest.mark.parametrize(("found", "by_label"), [(layer(), True), (layer(DCGM), False)])
def test_labels_name_engines_once_somebody_asks(found: DataLayer, by_label: bool) -> None:
    source = plan_scraping(FLAGS, found, by_label=by_label)[0]
    reading: Any = source.extractors[0].reading
    assert reading.of({ENGINE_LABELS[0]: "sglang"}, source.engine) == BUILT_IN["sglang"]
    assert reading.of({}, source.engine) == FLAGS.engine


def test_parameters_come_before_the_command_line() -> None:
    given = use(
        make("metrics-data-source", path="/p", port=7, interval=0.01),
        make("core-metrics-extractor", defaultEngine="triton"),
    )
    (source,) = plan_scraping(FLAGS, layer(given))
    assert (source.path, source.port, source.interval_seconds) == ("/p", 7, 0.05)
    reading: Any = source.extractors[0].reading
    assert reading.of({}, source.engine) == BUILT_IN["triton"]


def test_other_pages_have_a_second_and_ports_of_their_own() -> None:
    dcgm, models = plan_scraping(FLAGS, layer(DCGM, MODELS, has_defaults=False))
    assert (dcgm.port, dcgm.timeout_seconds, dcgm.interval_seconds) == (9400, 1.0, 1.0)
    assert (models.path, models.is_on_serving_port, models.lists_models) == (
        "/v1/models",
        True,
        True,
    )
    assert not dcgm.tells_load


def test_attributes_are_called_after_their_extractor() -> None:
    custom = [{"attributeKey": "a", "metricSpec": "x"}]
    core = make(
        "core-metrics-extractor", "core", engineConfigs=[{"name": "e", "customMetrics": custom}]
    )
    gpu = use(make("dcgm-data-source"), make("dcgm-extractor", "gpu"))
    sources = plan_scraping(FLAGS, layer(use(make("metrics-data-source"), core), gpu))
    assert [source.attributes for source in sources] == [{"a/core"}, {"GPUUtilization/gpu"}]


def test_the_same_plan_is_equal() -> None:
    assert plan_scraping(FLAGS, layer(DCGM, METRICS)) == plan_scraping(FLAGS, layer(DCGM, METRICS))


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, ssl.CERT_NONE),
        ({"insecureSkipVerify": False}, ssl.CERT_REQUIRED),
    ],
)
def test_certificates_are_checked_as_parameters_say(
    values: dict[str, Any], mode: ssl.VerifyMode
) -> None:
    source = make("metrics-data-source", scheme="https", **values)
    (planned,) = plan_scraping(FLAGS, layer(use(source, make("core-metrics-extractor"))))
    assert planned.tls is not None
    assert planned.tls.verify_mode is mode


@pytest.mark.parametrize("key", ["caCertPath", "clientCertPath"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, key: str, content: str | None
) -> None:
    path = tmp_path / "cert"
    if content is not None:
        path.write_text(content)
    source = make("models-data-source", scheme="https", clientKeyPath="/k", **{key: str(path)})
    with pytest.raises(StartError, match=f"cannot use the certificate {path}: "):
        plan_scraping(FLAGS, layer(use(source, make("models-data-extractor"))))

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from msgspec.structs import FieldInfo

import epp.plugins
from epp.config.load import LoadedConfig, load_config
from epp.core.datalayer import DataSource, Extractor
from epp.core.plugin import (
    REGISTRY,
    Admitter,
    DataProducer,
    DisaggregationDecider,
    Discovery,
    Filter,
    HeaderProcessor,
    Parser,
    Picker,
    Plugin,
    PreRequest,
    ProfileHandler,
    ResponseHeaderProcessor,
    ResponseObserver,
    SaturationDetector,
    Scorer,
    Screener,
)
from tests.fakes import make_handle

epp.plugins.load()

README = (Path(epp.plugins.__file__).parent / "README.md").read_text()
ROLES: dict[str, type[Plugin] | tuple[type[Plugin], ...]] = {
    "Filters": Filter,
    "Scorers": Scorer,
    "Pickers": Picker,
    "Saturation detectors": SaturationDetector,
    "Screeners": Screener,
    "Producers": DataProducer,
    "Admitters": Admitter,
    "Profile handlers": ProfileHandler,
    "Deciders": DisaggregationDecider,
    "Parsers": Parser,
    "Hooks": (HeaderProcessor, PreRequest, ResponseHeaderProcessor, ResponseObserver),
    "Discovery": Discovery,
    "Data sources": DataSource,
    "Extractors": Extractor,
}
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


class Row(NamedTuple):
    section: str
    type: str
    text: str
    parameters: str
    stability: str


def rows() -> list[Row]:
    found = []
    for section in re.split(r"^## ", README, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        for line in section.splitlines():
            if match := re.match(r"\| `([a-z0-9-]+)` \|", line):
                cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
                found.append(Row(title, match[1], cells[1], cells[-2], cells[-1]))
    return found


def load(example: str) -> LoadedConfig:
    return load_config(example, "example", make_handle(), allow_experimental=True)


def test_every_plugin_type_has_one_row_and_every_row_a_type() -> None:
    assert sorted(row.type for row in rows()) == sorted(REGISTRY)


def shown(field: FieldInfo) -> str:
    """A default as JSON; the types of our own among strings are strings there."""
    if field.required:
        return "required"
    made = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return msgspec.json.encode(made, enc_hook=str).decode()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.type)
def test_a_row_tells_stability_and_parameters_with_their_defaults(row: Row) -> None:
    declared = REGISTRY[row.type]
    assert row.stability == declared.stability
    fields = msgspec.structs.fields(declared.params)
    if not fields:
        assert row.parameters == "none"
    for field in fields:
        assert f"`{field.encode_name}` {shown(field)}" in row.parameters


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.type)
def test_a_row_stands_in_the_table_of_its_role(row: Row) -> None:
    (example,) = [text for text in EXAMPLES if f"type: {row.type}\n" in text][:1]
    loaded = load(example)
    (made,) = [plugin for plugin in loaded.plugins if plugin.type == row.type]
    assert isinstance(made, ROLES[row.section])


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads_without_a_notice(example: str) -> None:
    assert [f for f in load(example).findings if f.rule != "deprecated-name"] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.type)
def test_a_row_says_whether_a_type_is_deprecated(row: Row) -> None:
    assert row.text.startswith("deprecated") == bool(REGISTRY[row.type].deprecated)


def test_the_example_of_a_new_scorer_is_one() -> None:
    (code,) = re.findall(r"^   ```python\n(.*?)^   ```", README, re.DOTALL | re.MULTILINE)
    before = dict(REGISTRY)
    try:
        exec(compile(code.replace("\n   ", "\n")[3:], "README.md", "exec"), {"__name__": "example"})
        (added,) = REGISTRY.keys() - before.keys()
        declared = REGISTRY[added]
        made = declared.make(declared.params(), make_handle())
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)
    assert isinstance(made, Scorer)
    assert f"scorers/{added.removesuffix('-scorer').replace('-', '_')}.py" in README

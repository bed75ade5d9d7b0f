"""Changes to configurations: rough ones of their text, and gentle ones of what they say.

A text is a function of the text it comes from and of the random numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import msgspec
import yaml

from epp.config.schema import NEW_GROUP, OLD_GROUP
from epp.core.plugin import PluginType

WORDS = (
    *("null", "~", "true", "yes", "on", "12", "-1", "0.5", "1e400", ".nan", ".inf", "''", "'2'"),
    *("[]", "{}", "[1]", "{a: 1}", "- x", "&a", "*a", "<<: *a", "!!binary zz", "!!int ''", "|"),
    *("5ms", "-5s", "1Gi", "-1Gi", "0x10", "1_000", "190:20:30", "2001-01-01", "\u2028", "\ud7ff"),
    *("plugins:", "- type: queue-scorer", "pluginRef: queue-scorer", "weight: 2", "parameters:"),
    *("apiVersion: llm-d.ai/v1alpha1", "name: x", "kind: Pod", "featureGates: [flowControl]"),
    *("---", "# comment", "\t", "  ", ":", "\x00", ">", "9" * 200, "a" * 5000),
)
TEXTS = (
    *("", "x", "on", "1e3", "0x10", "1:20", "2001-01-01", "a b", "a: b", "# a", "\u2028", "\x85"),
    *(
        "5ms",
        "1h",
        "1h1m1.5s",
        "100us",
        "-5s",
        "0",
        "1Gi",
        "500M",
        "\ufeff",
        "\U0001f600",
        "=",
        "<<",
    ),
)
NUMBERS = (0, 1, -1, 2, 64, 0.5, 1e-7, 1.5e300, 0.1 + 0.2, 1 / 3, 100, 10**6, 2**31, 2**63, 10**22)
MAX_DEPTH = 20


def mutate(text: str, random: Random, catalogue: Mapping[str, PluginType]) -> str:
    """One to three changes; mostly of what the text says, where it says something."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    if isinstance(document, dict) and random.random() < 0.75:
        for _ in range(random.randint(1, 3)):
            random.choice(GENTLE)(document, random, catalogue)
        text = _written(document, random)
    else:
        text = _rough(text, random)
    return _in_a_config_map(text, random) if random.random() < 0.05 else text


def _written(document: object, random: Random) -> str:
    said: str = yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=random.random() < 0.2,
        default_flow_style=random.choice((False, False, None, True)),
        allow_unicode=random.random() < 0.5,
        width=random.choice((40, 1000)),
    )
    return said


def _in_a_config_map(text: str, random: Random) -> str:
    """As it stands in a cluster: in a block, folded, or in quotes."""
    manifest: str = yaml.dump(
        {"kind": "ConfigMap", "data": {"other": "x", "config.yaml": text}},
        default_style=random.choice(("|", ">", '"', "'", None)),
        indent=random.choice((2, 4, 8)),
        allow_unicode=True,
    )
    return f"# {random.choice(TEXTS)}\n{manifest}" if random.random() < 0.5 else manifest


class _Dumper(yaml.SafeDumper):
    """Without anchors: what is there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _rough(text: str, random: Random) -> str:
    """One to three changes of lines, words, characters, indentation."""
    for _ in range(random.randint(1, 3)):
        lines = text.split("\n")
        at = random.randrange(len(lines))
        match random.randrange(9):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, random.choice(lines))
            case 2:
                lines.insert(at, " " * random.randrange(8) + random.choice(WORDS))
            case 3:
                key, colon, _ = lines[at].partition(":")
                lines[at] = f"{key}{colon} {random.choice(WORDS)}"
            case 4:
                lines[at] = " " * random.randrange(6) + lines[at].lstrip()
            case 5:
                other = random.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 6 if lines[at]:
                where = random.randrange(len(lines[at]))
                letter = chr(random.choice((random.randrange(32, 127), random.randrange(0x2FFF))))
                lines[at] = lines[at][:where] + letter + lines[at][where + 1 :]
            case 7 if lines[at]:
                where = random.randrange(len(lines[at]))
                lines[at] = lines[at][:where] + lines[at][where + 1 :]
            case _:
                words = lines[at].split(" ")
                words[random.randrange(len(words))] = random.choice(WORDS)
                lines[at] = " ".join(words)
        text = "\n".join(lines) or "\n"
    return text


Catalogue = Mapping[str, PluginType]


def _slots(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every place inside a value: what holds it, and its key or number there."""
    if depth > MAX_DEPTH:
        return
    pairs: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield value, key
        yield from _slots(inner, depth + 1)


def _plugins(document: dict[str, Any]) -> list[dict[str, Any]]:
    declared = document.get("plugins")
    return [p for p in declared if isinstance(p, dict)] if isinstance(declared, list) else []


def _a_number(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """Another number where one stands."""
    slots = [(h, k) for h, k in _slots(document) if type(h[k]) in (int, float)]
    if slots:
        holder, key = random.choice(slots)
        value = holder[key]
        holder[key] = random.choice(
            (*NUMBERS, value + 1, value * 2, -value, value / 3, float(value))
        )


def _a_value(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """Anything instead of a value: often of another type."""
    slots = [(h, k) for h, k in _slots(document) if not isinstance(h[k], dict | list)]
    if slots:
        holder, key = random.choice(slots)
        holder[key] = random.choice((*TEXTS, *NUMBERS, None, True, False, [], {}, str(holder[key])))


def _an_order(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """A list or mapping in another order."""
    holders = [document, *(h[k] for h, k in _slots(document) if isinstance(h[k], dict | list))]
    holder = random.choice(holders)
    if isinstance(holder, list):
        random.shuffle(holder)
    else:
        pairs = list(holder.items())
        random.shuffle(pairs)
        holder.clear()
        holder.update(pairs)


def _a_lack(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """A part is gone."""
    if slots := list(_slots(document)):
        holder, key = random.choice(slots)
        del holder[key]


def _a_name(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """A plugin is called otherwise, by everybody who speaks of it."""
    if not (plugins := _plugins(document)):
        return
    plugin = random.choice(plugins)
    before = plugin.get("name") or plugin.get("type")
    after = random.choice((*TEXTS, "other", *(str(p.get("type")) for p in plugins)))
    for holder, key in _slots(document):
        if holder[key] == before and key != "type":
            holder[key] = after
    plugin["name"] = after


def _a_profile(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """A profile that names some of the plugins, with weights or without."""
    references: list[dict[str, Any]] = []
    for plugin in _plugins(document):
        if random.random() < 0.7:
            references.append({"pluginRef": plugin.get("name") or plugin.get("type")})
            if random.random() < 0.5:
                references[-1]["weight"] = random.choice(NUMBERS)
    profiles = document.get("schedulingProfiles")
    profile = {"name": random.choice(TEXTS), "plugins": references}
    if isinstance(profiles, list) and profiles and random.random() < 0.7:
        profiles[random.randrange(len(profiles))] = profile
    else:
        document["schedulingProfiles"] = [profile]


def _a_plugin(document: dict[str, Any], random: Random, catalogue: Catalogue) -> None:
    """One plugin more, perhaps with parameters, perhaps twice."""
    plugin: dict[str, Any] = {"type": random.choice(sorted(catalogue))}
    if random.random() < 0.3:
        plugin["name"] = random.choice((*TEXTS, *sorted(catalogue)))
    declared = document.get("plugins")
    if isinstance(declared, list):
        declared.insert(random.randint(0, len(declared)), plugin)
    else:
        document["plugins"] = [plugin]
    if random.random() < 0.5:
        _set_parameter(plugin, document, random, catalogue)


def _a_parameter(document: dict[str, Any], random: Random, catalogue: Catalogue) -> None:
    """A parameter that a plugin's type has, with a value of the kind of its default."""
    if plugins := _plugins(document):
        _set_parameter(random.choice(plugins), document, random, catalogue)


def _set_parameter(
    plugin: dict[str, Any], document: dict[str, Any], random: Random, catalogue: Catalogue
) -> None:
    declared = catalogue.get(str(plugin.get("type")))
    fields = msgspec.structs.fields(declared.params) if declared else ()
    if not fields:
        return
    field = random.choice(fields)
    given = plugin.get("parameters")
    values = given if isinstance(given, dict) else {}
    plugin["parameters"] = values
    key = field.encode_name
    key = key.upper() if random.random() < 0.1 else key
    if isinstance(field.default, bool):
        values[key] = not field.default
    elif isinstance(field.default, int | float):
        values[key] = random.choice((*NUMBERS, field.default, 0.25, 0.75, 3, 10))
    else:
        names = [p.get("name") or p.get("type") for p in _plugins(document)]
        word = random.choice((*TEXTS, *names))
        values[key] = random.choice((word, word, [word], [word, "b"], {"a": word}, 5, None))


def _a_group(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """The other vocabulary, or none."""
    document["apiVersion"] = random.choice((OLD_GROUP, NEW_GROUP, "", None))


def _a_section(document: dict[str, Any], random: Random, _: Catalogue) -> None:
    """A section at the top level, with what may stand in it."""
    names = [p.get("name") or p.get("type") for p in _plugins(document)]
    name = random.choice([*names, "openai-parser", "utilization-detector"])
    number, text = random.choice(NUMBERS), random.choice(TEXTS)
    band = {"priority": number, "maxBytes": random.choice((number, text)), "maxRequests": number}
    key, value = random.choice(
        (
            ("saturationDetector", {"queueDepthThreshold": number}),
            ("saturationDetector", {"kvCacheUtilThreshold": number}),
            ("saturationDetector", {"metricsStalenessThreshold": text}),
            ("saturationDetector", {"pluginRef": name}),
            ("flowControl", {"saturationDetector": {"pluginRef": name}}),
            ("flowControl", {"maxBytes": random.choice((number, text)), "priorityBands": [band]}),
            ("requestHandler", {"parsers": [{"pluginRef": name}, {"pluginRef": "openai-parser"}]}),
            ("parser", {"pluginRef": name}),
            ("dataLayer", {"sources": [{"pluginRef": name, "extractors": [{"pluginRef": name}]}]}),
            ("dataLayer", {"discovery": {"pluginRef": name}, "injectDefaults": number != 0}),
            ("featureGates", ["flowControl", "dataLayer=False"]),
        )
    )
    document[key] = value


GENTLE: tuple[Callable[[dict[str, Any], Random, Catalogue], None], ...] = (
    *(_a_number, _a_value, _an_order, _a_lack, _a_name, _a_profile),
    *(_a_plugin, _a_parameter, _a_parameter, _a_group, _a_section),
)

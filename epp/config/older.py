"""What the 2025 release says otherwise: its prefix-cache-scorer has an index of its own, in bytes.

The newer release's scorer reads what a producer found out, in tokens. A scorer of the older kind is
one of the older group, unless it names a producer or the file declares one, or one that is given
a parameter in bytes. It gets a producer for itself.

Differs: the newer release reads a file of the older group in its own way, and refuses parameters in
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epp.config.schema import PluginSection
from epp.config.shelf import Declaration

PREFIX_SCORER = "prefix-cache-scorer"
BYTE_PRODUCER = "byte-prefix-cache-producer"
IN_BYTES = {
    name.lower(): name for name in ("blockSize", "maxPrefixBlocksToMatch", "lruCapacityPerServer")
}
OF_PRODUCERS = {
    name.lower()
    for name in ("prefixMatchInfoProducerName", "matchLengthWeight", "matchLengthScaleTokens")
}


def declarations(
    sections: Sequence[tuple[str, PluginSection]], *, is_old: bool
) -> list[Declaration]:
    """The plugins of a file, each section with its path, and the producers of older scorers."""
    has_producer = any(section.type.endswith("prefix-cache-producer") for _, section in sections)
    taken = {section.name or section.type for _, section in sections}
    found: list[Declaration] = []
    for path, section in sections:
        name = section.name or section.type
        plain = Declaration(section.type, name, section.parameters, f"{path}.parameters")
        if section.type != PREFIX_SCORER:
            found.append(plain)
            continue
        given = section.parameters if isinstance(section.parameters, dict) else {}
        keys = {str(key).lower() for key in given}
        is_older = is_old and not has_producer and not keys & OF_PRODUCERS
        if not is_older and not keys & IN_BYTES.keys():
            found.append(plain)
            continue
        producer = f"{name}-index"
        while producer in taken:
            producer += "-default"
        taken.add(producer)
        found += _older(plain, given, producer)
    return found


def _older(scorer: Declaration, given: dict[str, Any], producer: str) -> list[Declaration]:
    """The scorer without its parameters in bytes, and the producer with them."""
    in_bytes = {
        IN_BYTES[key.lower()]: value for key, value in given.items() if key.lower() in IN_BYTES
    }
    rest = {key: value for key, value in given.items() if key.lower() not in IN_BYTES}
    parameters: object = {**rest, "prefixMatchInfoProducerName": producer}
    if scorer.parameters is not None and not isinstance(scorer.parameters, dict):
        parameters = scorer.parameters  # to be refused as it is
    return [
        Declaration(
            BYTE_PRODUCER,
            producer,
            {**in_bytes, "reportAs": scorer.name},
            scorer.path,
            f"the index of {scorer.name}, in bytes as in the 2025 release",
        ),
        Declaration(PREFIX_SCORER, scorer.name, parameters, scorer.path),
    ]

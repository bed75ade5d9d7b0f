"""Who makes the data that plugins consume, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from epp.config.findings import Findings
from epp.config.shelf import Shelf
from epp.core.data import DataKey
from epp.core.plugin import DataProducer


def add_producers(shelf: Shelf, findings: Findings) -> None:
    """Add the default producer of every key that somebody needs and nobody makes.

    Source: llm-d-router v0.10, pkg/epp/config/loader (automatic data producers).
    """
    tried: set[DataKey[Any]] = set()
    while missing := _missing(shelf, tried):
        for key, needed_by in missing.items():
            tried.add(key)
            path = shelf.entries[needed_by].path.removesuffix(".parameters")
            if shelf.is_refused(key.producer):
                continue  # that is told already
            if key.producer != key.default_producer:
                findings.error(
                    path,
                    "missing-producer",
                    f"{needed_by} needs {key.name} from {key.producer}, which "
                    f"{'makes none' if key.producer in shelf.plugins else 'is not declared'}",
                )
            elif key.producer in shelf.plugins:
                findings.error(
                    path, "missing-producer", f"{needed_by} needs {key.name}, which nobody makes"
                )
            else:
                shelf.add(key.default_producer, f"{needed_by} needs {key.name}", path=path)


def in_order(shelf: Shelf, findings: Findings) -> list[DataProducer]:
    """The producers, each after those whose data it reads; a circle is an error that names it."""
    producers = shelf.of(DataProducer)
    makers = {key: producer for producer in producers for key in producer.produces}
    ordered: dict[DataProducer, None] = {}
    for producer in producers:
        # Depth first without recursion: who is being visited, and whom each has still to wait for.
        visiting = {producer: _makers_for(producer, makers)}
        while visiting:
            last = next(reversed(visiting))
            maker = next(visiting[last], None)
            if maker is None:
                ordered[last] = None
                del visiting[last]
            elif maker in visiting:
                names = [p.name for p in visiting]
                circle = [*names[names.index(maker.name) :], maker.name]
                findings.error(
                    "$.plugins",
                    "producer-cycle",
                    f"data producers need each other: {' -> '.join(circle)}",
                )
            elif maker not in ordered:
                visiting[maker] = _makers_for(maker, makers)
    return list(ordered)


def _missing(shelf: Shelf, tried: set[DataKey[Any]]) -> dict[DataKey[Any], str]:
    """The keys that nobody makes, and the first who needs each."""
    made = {key for plugin in shelf.plugins.values() for key in plugin.produces}
    found: dict[DataKey[Any], str] = {}
    for plugin in shelf.plugins.values():
        for key in plugin.consumes:
            if key not in made and key not in tried:
                found.setdefault(key, plugin.name)
    return found


def _makers_for(
    producer: DataProducer, makers: Mapping[DataKey[Any], DataProducer]
) -> Iterator[DataProducer]:
    """The others who make what a producer reads."""
    for key in [*producer.consumes, *producer.may_consume]:
        maker = makers.get(key)
        if maker is not None and maker is not producer:
            yield maker

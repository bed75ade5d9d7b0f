"""Who makes the data that plugins consume, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
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
    ordered: dict[str, DataProducer] = {}
    visiting: list[DataProducer] = []

    def visit(producer: DataProducer) -> None:
        if producer.name in ordered:
            return
        if producer in visiting:
            circle = [p.name for p in [*visiting[visiting.index(producer) :], producer]]
            findings.error(
                "$.plugins",
                "producer-cycle",
                f"data producers need each other: {' -> '.join(circle)}",
            )
            return
        visiting.append(producer)
        for key in _read_by(producer):
            if (maker := makers.get(key)) is not None and maker is not producer:
                visit(maker)
        visiting.pop()
        ordered[producer.name] = producer

    for producer in producers:
        visit(producer)
    return list(ordered.values())


def _missing(shelf: Shelf, tried: set[DataKey[Any]]) -> dict[DataKey[Any], str]:
    """The keys that nobody makes, and the first who needs each."""
    made = {key for plugin in shelf.plugins.values() for key in plugin.produces}
    found: dict[DataKey[Any], str] = {}
    for plugin in shelf.plugins.values():
        for key in plugin.consumes:
            if key not in made and key not in tried:
                found.setdefault(key, plugin.name)
    return found


def _read_by(producer: DataProducer) -> Sequence[DataKey[Any]]:
    return [*producer.consumes, *producer.may_consume]

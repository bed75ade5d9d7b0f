"""Which model a request gets instead of the one that it names.

A rule that names the model wins over one for every model; among several of either kind the one of
the oldest object, and within an object the first.

Source: llm-d-router v0.10, pkg/epp/datastore/modelrewritestore.go.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from random import Random

import msgspec


class RewriteTarget(msgspec.Struct, frozen=True):
    """A model, and how often it is chosen compared with the others of its rule."""

    model: str
    weight: int


class Rewrite(msgspec.Struct, frozen=True):
    """A rule of the object ``name``: requests for any of ``models`` get one of ``targets``.

    No ``models`` means every request. There is at least one target, with a weight above 0.
    """

    name: str
    models: Sequence[str]
    targets: Sequence[RewriteTarget]


class Rewrites:
    """The rules of a pool, the oldest object's first."""

    def __init__(self, rules: Iterable[Rewrite] = ()) -> None:
        self._by_model: dict[str, _Choice] = {}
        self._generic: _Choice | None = None
        self._names: set[str] = set()
        for rule in rules:
            self._names.update(rule.models, (target.model for target in rule.targets))
            choice = _Choice(rule)
            for model in rule.models:
                self._by_model.setdefault(model, choice)
            if not rule.models and self._generic is None:
                self._generic = choice

    def choose(self, model: str, random: Random) -> tuple[str, str] | None:
        """The object that applies to ``model``, and the model that it gives; None without one."""
        choice = self._by_model.get(model, self._generic)
        return (choice.name, choice.draw(random)) if choice else None

    def models(self) -> set[str]:
        """Every model that a rule names, those of rules behind others included."""
        return set(self._names)


class _Choice:
    """One rule, ready to draw from."""

    def __init__(self, rule: Rewrite) -> None:
        self.name = rule.name
        self._models = [target.model for target in rule.targets]
        self._sums = list(accumulate(target.weight for target in rule.targets))

    def draw(self, random: Random) -> str:
        return self._models[bisect_right(self._sums, random.random() * self._sums[-1])]

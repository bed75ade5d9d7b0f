from __future__ import annotations

from collections import Counter
from random import Random

from epp.datastore.rewrites import Rewrite, Rewrites, RewriteTarget


def rule(name: str, *models: str, **targets: int) -> Rewrite:
    chosen = [RewriteTarget(model, weight) for model, weight in targets.items()]
    return Rewrite(name=name, models=models, targets=chosen)


def test_without_rules_nothing_is_rewritten() -> None:
    assert Rewrites().choose("m", Random(1)) is None
    assert Rewrites([rule("a", "x", y=1)]).choose("m", Random(1)) is None


def test_an_exact_rule_wins_over_a_generic_one_and_the_first_over_the_rest() -> None:
    rewrites = Rewrites(
        [
            rule("generic", g=1),
            rule("first", "m", "n", a=1),
            rule("second", "m", "o", b=1),
            rule("late", h=1),
        ]
    )
    random = Random(1)
    assert rewrites.choose("m", random) == ("first", "a")
    assert rewrites.choose("n", random) == ("first", "a")
    assert rewrites.choose("o", random) == ("second", "b")
    assert rewrites.choose("", random) == ("generic", "g")


def test_targets_are_chosen_by_their_weights() -> None:
    rewrites = Rewrites([rule("r", "m", a=1, b=3)])
    random = Random(7)
    drawn = Counter(rewrites.choose("m", random) for _ in range(4000))
    assert set(drawn) == {("r", "a"), ("r", "b")}
    assert 850 < drawn[("r", "a")] < 1150


def test_every_name_in_a_rule_is_told() -> None:
    rewrites = Rewrites([rule("r", "m", a=1, b=3), rule("g", c=1), rule("behind", "m", d=1)])
    assert rewrites.models() == {"m", "a", "b", "c", "d"}

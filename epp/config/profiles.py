"""Scheduling profiles: what is declared, what is added, and who runs them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import msgspec

from epp.config.findings import Findings
from epp.config.schema import PluginRefSection, ProfileSection
from epp.config.shelf import Shelf
from epp.core.plugin import Filter, Picker, Plugin, ProfileHandler, Scorer
from epp.core.probe import Probe
from epp.scheduling.profile import Profile, WeightedScorer

DEFAULT_PROFILE = "default"
DEFAULT_PICKER = "max-score-picker"
DEFAULT_HANDLER = "single-profile-handler"
DEFAULT_WEIGHT = 1.0


class Use(msgspec.Struct, frozen=True):
    """A plugin's part in a profile; ``weight`` is None for what is no scorer."""

    plugin: Plugin
    weight: float | None
    origin: str = ""


class ProfilePlan(msgspec.Struct, frozen=True):
    """A profile after defaulting; ``origin`` is empty where the file declares it."""

    name: str
    uses: tuple[Use, ...]
    origin: str = ""

    def build(self, probe: Probe) -> Profile:
        """The profile that runs."""
        (picker,) = (use.plugin for use in self.uses if isinstance(use.plugin, Picker))
        return Profile(
            self.name,
            filters=[use.plugin for use in self.uses if isinstance(use.plugin, Filter)],
            scorers=[
                WeightedScorer(use.plugin, use.weight)
                for use in self.uses
                if isinstance(use.plugin, Scorer) and use.weight is not None
            ],
            picker=picker,
            probe=probe,
        )


def plan_profiles(
    sections: Sequence[ProfileSection | None], shelf: Shelf, findings: Findings
) -> list[ProfilePlan]:
    """The declared profiles, or one that uses every scheduling plugin there is.

    A profile without a picker gets the first one that is declared, else the default one.

    Differs: of several declared pickers upstream takes any; a scorer without a weight that comes
    after the picker ends the process there.
    """
    origin = ""
    is_declared = bool(sections)
    if not is_declared:
        origin = "no profile is declared"
        sections = [_everything(shelf)]
    _check(sections, shelf, findings, is_declared=is_declared)
    pickers = shelf.of(Picker)
    shared: Plugin | None = pickers[0] if pickers else None
    plans: list[ProfilePlan] = []
    for section in sections:
        if section is None:
            continue
        uses = [
            _use(shelf.plugins[reference.plugin_ref], reference.weight)
            for reference in section.plugins or ()
            if reference.plugin_ref in shelf.plugins
        ]
        if not any(isinstance(use.plugin, Picker) for use in uses):
            if shared is None:
                shared = shelf.add(DEFAULT_PICKER, "no picker is declared")
            assert shared is not None
            uses.append(Use(shared, None, "the profile has no picker"))
        plans.append(ProfilePlan(section.name, tuple(uses), origin))
    return plans


def find_handler(profiles: int, shelf: Shelf, findings: Findings) -> ProfileHandler | None:
    """The declared handler, or the default one for a single profile; else None and an error."""
    handlers = shelf.of(ProfileHandler)
    if len(handlers) > 1:
        findings.error(
            shelf.place_of(handlers[1].name),
            "profile-handlers",
            f"only one profile handler is allowed. Both {handlers[0].name} and "
            f"{handlers[1].name} are profile handlers",
        )
    elif not handlers and profiles > 1 and not shelf.has_refused(ProfileHandler):
        findings.error(
            "$.schedulingProfiles",
            "profile-handlers",
            "no profile handler was specified; several profiles need one such as "
            "disagg-profile-handler",
        )
    elif handlers and handlers[0].type == DEFAULT_HANDLER and profiles > 1:
        findings.error(
            "$.schedulingProfiles",
            "profile-handlers",
            "single profile handler is intended to be used with a single profile, but multiple "
            "profiles were specified",
        )
    if handlers:
        return handlers[0]
    default = shelf.add(DEFAULT_HANDLER, "no handler is declared")
    return default if isinstance(default, ProfileHandler) else None


def _everything(shelf: Shelf) -> ProfileSection:
    return ProfileSection(
        name=DEFAULT_PROFILE,
        plugins=[
            PluginRefSection(plugin_ref=name)
            for name, plugin in shelf.plugins.items()
            if isinstance(plugin, Filter | Scorer | Picker)
        ],
    )


def _use(plugin: Plugin, weight: float | None) -> Use:
    if not isinstance(plugin, Scorer):
        return Use(plugin, None)
    if weight is None:
        return Use(plugin, DEFAULT_WEIGHT, "the weight by default")
    return Use(plugin, weight)


def _check(
    sections: Sequence[ProfileSection | None],
    shelf: Shelf,
    findings: Findings,
    *,
    is_declared: bool,
) -> None:
    names: set[str] = set()
    for i, profile in enumerate(sections):
        if profile is None:
            continue
        path = f"$.schedulingProfiles[{i}]"
        if not profile.name:
            findings.error(path, "missing-name", "SchedulingProfile must have a name")
        elif profile.name in names:
            findings.error(
                path,
                "duplicate-name",
                f"the name '{profile.name}' has been specified for more than one SchedulingProfile",
            )
        names.add(profile.name)
        _check_references(profile, path, shelf, findings, is_declared=is_declared)


def _check_references(
    profile: ProfileSection, path: str, shelf: Shelf, findings: Findings, *, is_declared: bool
) -> None:
    pickers: list[Plugin] = []
    for i, reference in enumerate(profile.plugins or ()):
        place = f"{path}.plugins[{i}]"
        if reference.weight is not None and not isfinite(reference.weight):
            findings.error(f"{place}.weight", "wrong-value", "expected a finite number")
        plugin = shelf.plugins.get(reference.plugin_ref)
        if not reference.plugin_ref:
            findings.error(
                place,
                "missing-reference",
                f"SchedulingProfile '{profile.name}' plugins must have a plugin reference",
            )
        elif plugin is None:
            if not shelf.is_refused(reference.plugin_ref):
                shelf.undefined(reference.plugin_ref, place)
        elif isinstance(plugin, Picker):
            pickers.append(plugin)
            if len(pickers) == 2:
                findings.error(
                    place if is_declared else shelf.place_of(plugin.name),
                    "two-pickers",
                    f"failed to set '{plugin}' as picker, already have a registered picker "
                    f"plugin '{pickers[0]}'",
                )

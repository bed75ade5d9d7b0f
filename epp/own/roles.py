"""The roles a plugin can fill, and the methods the picker calls for each; read off the core."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

from epp.core import plugin as core
from epp.core.plugin import Plugin

ROLES: tuple[type[Plugin], ...] = tuple(
    value
    for value in vars(core).values()
    if isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin
)


def roles_of(cls: type) -> list[type[Plugin]]:
    """The roles that ``cls`` fills, in the order of the core."""
    return [role for role in ROLES if issubclass(cls, role)]


def methods_of(role: type[Plugin]) -> dict[str, FunctionType]:
    """The extension points of a role by their names; properties are none, they are asked once."""
    return {
        name: value
        for name, value in vars(role).items()
        if isinstance(value, FunctionType) and not name.startswith("_")
    }


def overridden(cls: type, role: type[Plugin]) -> list[str]:
    """The methods of the role that ``cls`` has an implementation of."""
    return [name for name, own in methods_of(role).items() if getattr(cls, name) is not own]


def missing(cls: type) -> Iterator[str]:
    """``Role.method`` for everything that ``cls`` has to implement and does not."""
    for role in roles_of(cls):
        present = overridden(cls, role)
        for name, function in methods_of(role).items():
            # What the core raises this in has no default.
            if name not in present and "NotImplementedError" in function.__code__.co_names:
                yield f"{role.__name__}.{name}"

"""The plugins of one configuration: declared, added by default, and made in the right order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from epp.config.findings import ConfigError, Findings, did_you_mean
from epp.config.parameters import plugin_names, read_parameters
from epp.config.waiting import WAITING
from epp.core.errors import ParameterError
from epp.core.plugin import Handle, Params, Plugin, PluginType, Stability

MAX_CHAIN = 50

P = TypeVar("P", bound=Plugin)


class Declaration(msgspec.Struct, frozen=True):
    """A plugin to be made.

    ``path`` is where its parameters stand; ``origin`` says why it is there, empty where the file
    declares it.
    """

    type: str
    name: str
    parameters: object
    path: str
    origin: str = ""


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A plugin that was made, and from what."""

    plugin: Plugin
    declared: PluginType
    params: Params
    path: str
    origin: str


class Rules(msgspec.Struct, frozen=True):
    """What a file may say: the types there are, and how much of the unknown is forgiven."""

    catalogue: Mapping[str, PluginType]
    is_strict: bool
    allow_experimental: bool


_MadeOf: TypeAlias = tuple[Declaration, PluginType, Params]


class Shelf:
    """Makes plugins and keeps them by name, in the order of their declaration.

    ``kept`` are the plugins of the configuration before: one whose type, name and parameters are
    the same is not made anew, so that it keeps what it knows.
    """

    def __init__(
        self, rules: Rules, handle: Handle, findings: Findings, kept: Mapping[str, Entry]
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.plugins: dict[str, Plugin] = {}
        self._rules = rules
        self._handle = handle
        self._findings = findings
        self._kept = kept
        self._aliases = {
            alias: declared.name
            for declared in rules.catalogue.values()
            for alias in declared.aliases
        }
        self._waiting: dict[str, _MadeOf] = {}
        self._making: list[str] = []
        self._declared: set[str] = set()
        self._written: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    def of(self, role: type[P]) -> list[P]:
        """The plugins that fill a role, in their order."""
        return [plugin for plugin in self.plugins.values() if isinstance(plugin, role)]

    def declare(
        self, declarations: Sequence[Declaration], refused: Mapping[str, str] | None = None
    ) -> None:
        """Make these plugins, each after those that its parameters name.

        ``refused`` are the names of plugins that there would be, were they not wrong, with their
        types.
        """
        self._refused = dict(refused or {})
        names: dict[str, None] = {}  # in their order
        for declaration in declarations:
            name = declaration.name
            if not declaration.type:
                self._wrong(
                    declaration, "missing-type", f"plugin definition for '{name}' is missing a type"
                )
            elif name in names:
                self._wrong(
                    declaration, "duplicate-name", f"plugin name '{name}' used more than once"
                )
                self._read(declaration)
            else:
                names[name] = None
                self._declared.add(name)
                if not declaration.origin:
                    self._written[name] = declaration.type
                if made_of := self._read(declaration):
                    self._waiting[name] = made_of
        for name in list(self._waiting):
            self._make(name)
        self._refused |= {d.name: d.type for d in declarations if d.name not in self.plugins}
        self.entries = {name: self.entries[name] for name in names if name in self.entries}
        self.plugins.clear()
        self.plugins |= {name: entry.plugin for name, entry in self.entries.items()}

    def add(self, type_name: str, origin: str, *, path: str = "$.plugins") -> Plugin | None:
        """A plugin that nobody declared; it never replaces one that bears its name."""
        name = type_name
        while name in self.plugins:
            name += "-default"
        if made_of := self._read(Declaration(type_name, name, None, path, origin)):
            self._waiting[name] = made_of
        self._make(name)
        if name not in self.plugins:
            self._refused[name] = type_name
        return self.plugins.get(name)

    def is_type(self, name: str) -> bool:
        """Whether a plugin type is called so."""
        return name in self._rules.catalogue or name in self._aliases or name in WAITING

    def is_refused(self, name: str) -> bool:
        """Whether a plugin of this name was declared, and refused with an error."""
        return name in self._refused

    def has_refused(self, role: type[Plugin]) -> bool:
        """Whether a plugin was refused that fills this role, or may, as nobody knows its type."""
        types = [self._catalogued(t) for t in self._refused.values() if t not in WAITING]
        return any(declared is None or issubclass(declared.cls, role) for declared in types)

    def place_of(self, name: str) -> str:
        """The path of a plugin's declaration."""
        return self.entries[name].path.removesuffix(".parameters")

    def find(self, name: str, role: type[P], path: str, *, what: str) -> P | None:
        """The plugin of this name and role; None, and an error, where there is none.

        ``what`` is the role with its article: "a parser".
        """
        plugin = self.plugins.get(name)
        if isinstance(plugin, role):
            return plugin
        if plugin is not None:
            self._findings.error(path, "wrong-role", f"{name} ({plugin.type}) is not {what}")
        elif not self.is_refused(name):
            self.undefined(name, path)
        return None

    def undefined(self, name: str, path: str) -> None:
        """Say that nobody is called so."""
        of_type = [other for other, type_name in self._written.items() if type_name == name]
        hint = f"; the one of this type is called {of_type[0]!r}" if of_type else ""
        self._findings.error(
            path,
            "undefined-reference",
            f"{name} is a reference to an undefined Plugin"
            f"{hint or did_you_mean(name, self._written)}",
        )

    def _read(self, declaration: Declaration) -> _MadeOf | None:
        declared = self._type_of(declaration)
        if declared is None:
            return None
        try:
            params = read_parameters(
                declaration.parameters,
                declared,
                declaration.path,
                self._findings,
                is_strict=self._rules.is_strict,
            )
        except ConfigError:
            raise
        except Exception as error:
            self._broken(declaration, declared, error)
            return None
        return None if params is None else (declaration, declared, params)

    def _catalogued(self, type_name: str) -> PluginType | None:
        return self._rules.catalogue.get(self._aliases.get(type_name, type_name))

    def _type_of(self, declaration: Declaration) -> PluginType | None:
        type_name = declaration.type
        catalogue = self._rules.catalogue
        declared = self._catalogued(type_name)
        path = declaration.path
        if not declaration.origin:
            path = f"{path.removesuffix('.parameters')}.type"
        if declared is None:
            reason = WAITING.get(type_name)
            if reason:
                self._findings.error(
                    path, "waiting-type", f"plugin type '{type_name}' cannot be used: {reason}"
                )
            else:
                self._findings.error(
                    path,
                    "unknown-type",
                    f"plugin type '{type_name}' is not found in registry"
                    f"{did_you_mean(type_name, [*catalogue, *WAITING])}",
                )
            return None
        if type_name != declared.name:
            self._findings.warn(
                path, "deprecated-name", f"{type_name} is deprecated, use {declared.name}"
            )
        if declared.deprecated:
            self._findings.warn(
                path, "deprecated-name", f"{type_name} is deprecated, {declared.deprecated}"
            )
        if declared.stability is Stability.ALPHA and not self._rules.allow_experimental:
            self._findings.error(
                path,
                "experimental-type",
                f"plugin '{declaration.name}' (type: '{type_name}') has Alpha stability level, but "
                "command line flag --allow-experimental-plugins is not set",
            )
        return declared

    def _make(self, name: str) -> None:
        if name not in self._waiting:
            return
        declaration, declared, params = self._waiting.pop(name)
        named = list(plugin_names(params))
        self._making.append(name)
        for key, other in named:
            self._make_first(other, f"{declaration.path}.{key}")
        self._making.pop()
        if any(other not in self.plugins for _, other in named):
            return  # why is told already
        plugin: Plugin | None
        if self._is_kept(name, declared, params) and all(self._goes_on(o) for _, o in named):
            plugin = self._kept[name].plugin
        else:
            plugin = self._construct(declaration, declared, params)
        if plugin is not None:
            self.plugins[name] = plugin
            self.entries[name] = Entry(
                plugin, declared, params, declaration.path, declaration.origin
            )

    def _make_first(self, name: str, path: str) -> None:
        """Make what is named at ``path``; an error if that is impossible."""
        if name in self._making:
            circle = " -> ".join([*self._making[self._making.index(name) :], name])
            self._findings.error(path, "reference-cycle", f"plugins name each other: {circle}")
        elif len(self._making) > MAX_CHAIN:
            self._findings.error(
                path, "reference-cycle", f"more than {MAX_CHAIN} plugins name each the next"
            )
        elif name in self._waiting:
            self._make(name)
        elif not (name in self.plugins or name in self._declared or name in self._refused):
            self.undefined(name, path)

    def _goes_on(self, name: str) -> bool:
        """Whether a plugin is the one of the configuration before."""
        return name in self._kept and self._kept[name].plugin is self.plugins[name]

    def _is_kept(self, name: str, declared: PluginType, params: Params) -> bool:
        before = self._kept.get(name)
        return before is not None and before.declared is declared and before.params == params

    def _construct(
        self, declaration: Declaration, declared: PluginType, params: Params
    ) -> Plugin | None:
        handle = msgspec.structs.replace(self._handle, name=declaration.name, plugins=self.plugins)
        try:
            plugin = declared.make(params, handle)
            plugin.bind(declaration.name)
            if declared.origin:  # asked here, as it may raise
                _ = [*plugin.consumes, *plugin.may_consume, *plugin.produces]
        except ParameterError as error:
            path = f"{declaration.path}.{error.key}" if error.key else declaration.path
            self._findings.error(path, "wrong-value", error.rule)
            return None
        except Exception as error:
            self._broken(declaration, declared, error)
            return None
        return plugin

    def _broken(self, declaration: Declaration, declared: PluginType, error: Exception) -> None:
        """A plugin of the user's own may raise anything; one of this package should not."""
        if not declared.origin:
            raise error
        self._wrong(
            declaration,
            "broken-plugin",
            f"{declared.name} of {declared.origin} cannot be made: {type(error).__name__}: {error}",
        )

    def _wrong(self, declaration: Declaration, rule: str, text: str) -> None:
        self._findings.error(declaration.path.removesuffix(".parameters"), rule, text)

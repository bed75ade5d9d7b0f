"""The plugins of one configuration: declared, added by default, and made in the right order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from epp.config.findings import Findings, did_you_mean
from epp.config.parameters import plugin_names, read_parameters
from epp.config.waiting import WAITING
from epp.core.errors import ParameterError
from epp.core.plugin import Handle, Params, Plugin, PluginType, Stability

MAX_CHAIN = 100

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
        self._waiting: dict[str, tuple[Declaration, PluginType, Params]] = {}
        self._making: list[str] = []
        self._declared: set[str] = set()
        self._refused: set[str] = set()
        self._lost: list[PluginType | None] = []

    def of(self, role: type[P]) -> list[P]:
        """The plugins that fill a role, in their order."""
        return [plugin for plugin in self.plugins.values() if isinstance(plugin, role)]

    def declare(self, declarations: Iterable[Declaration], refused: Iterable[str] = ()) -> None:
        """Make these plugins, each after those that its parameters name.

        ``refused`` are names of plugins that there would be, were they not wrong.
        """
        self._refused |= set(refused)
        self._lost += [None for _ in self._refused]
        names: dict[str, str] = {}  # the types, in the order of the plugins
        for declaration in declarations:
            name = declaration.name
            if not declaration.type:
                self._refused.add(name)
                self._wrong(
                    declaration, "missing-type", f"plugin definition for '{name}' is missing a type"
                )
            elif name in names:
                self._wrong(
                    declaration, "duplicate-name", f"plugin name '{name}' used more than once"
                )
            else:
                names[name] = declaration.type
                self._declared.add(name)
                self._read(declaration)
        for name in list(self._waiting):
            self._make(name)
        lost = {name: type_name for name, type_name in names.items() if name not in self.plugins}
        self._refused |= lost.keys()
        self._lost += [self._declared_as(type_name) for type_name in lost.values()]
        self.entries = {name: self.entries[name] for name in names if name in self.entries}
        self.plugins.clear()
        self.plugins |= {name: entry.plugin for name, entry in self.entries.items()}

    def add(self, type_name: str, origin: str, *, path: str = "$.plugins") -> Plugin | None:
        """A plugin that nobody declared; it never replaces one that bears its name."""
        name = type_name
        while name in self.plugins:
            name += "-default"
        self._read(Declaration(type_name, name, None, path, origin))
        self._make(name)
        if name not in self.plugins:
            self._refused.add(name)
        return self.plugins.get(name)

    def is_type(self, name: str) -> bool:
        """Whether a plugin type is called so."""
        return name in self._rules.catalogue or name in self._aliases or name in WAITING

    def is_refused(self, name: str) -> bool:
        """Whether a plugin of this name was declared, and refused with an error."""
        return name in self._refused

    def may_lack(self, role: type[Plugin]) -> bool:
        """Whether a plugin that was refused may be one of this role."""
        return any(lost is None or issubclass(lost.cls, role) for lost in self._lost)

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
        self._findings.error(
            path,
            "undefined-reference",
            f"{name} is a reference to an undefined Plugin{did_you_mean(name, self._declared)}",
        )

    def _read(self, declaration: Declaration) -> None:
        declared = self._type_of(declaration)
        if declared is None:
            return
        params = read_parameters(
            declaration.parameters,
            declared,
            declaration.path,
            self._findings,
            is_strict=self._rules.is_strict,
        )
        if params is not None:
            self._waiting[declaration.name] = (declaration, declared, params)

    def _declared_as(self, type_name: str) -> PluginType | None:
        return self._rules.catalogue.get(self._aliases.get(type_name, type_name))

    def _type_of(self, declaration: Declaration) -> PluginType | None:
        type_name = declaration.type
        catalogue = self._rules.catalogue
        declared = self._declared_as(type_name)
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
                    f"{did_you_mean(type_name, {*catalogue, *WAITING})}",
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
            return None
        return declared

    def _make(self, name: str) -> None:
        if name not in self._waiting:
            return
        declaration, declared, params = self._waiting.pop(name)
        self._making.append(name)
        named = {
            other: self._named(other, f"{declaration.path}.{key}")
            for key, other in plugin_names(params)
        }
        self._making.pop()
        if None in named.values():
            return  # what it names is missing, which was told
        plugin: Plugin | None
        if self._is_kept(name, declared, params) and all(
            other in self._kept and self._kept[other].plugin is made
            for other, made in named.items()
        ):
            plugin = self._kept[name].plugin
        else:
            plugin = self._construct(declaration, declared, params)
        if plugin is not None:
            self.plugins[name] = plugin
            self.entries[name] = Entry(
                plugin, declared, params, declaration.path, declaration.origin
            )

    def _named(self, other: str, path: str) -> Plugin | None:
        """The plugin that another names at this path, made now if need be."""
        if other in self._making:
            circle = [*self._making[self._making.index(other) :], other]
            self._findings.error(
                path, "reference-cycle", f"plugins name each other: {' -> '.join(circle)}"
            )
        elif other in self._waiting:
            if len(self._making) < MAX_CHAIN:
                self._make(other)
            else:
                self._findings.error(
                    path, "reference-cycle", f"more than {MAX_CHAIN} plugins name one another"
                )
        elif other not in self._declared and not self.is_refused(other):
            self.undefined(other, path)
        return self.plugins.get(other)

    def _is_kept(self, name: str, declared: PluginType, params: Params) -> bool:
        before = self._kept.get(name)
        return before is not None and before.declared is declared and before.params == params

    def _construct(
        self, declaration: Declaration, declared: PluginType, params: Params
    ) -> Plugin | None:
        handle = msgspec.structs.replace(self._handle, name=declaration.name, plugins=self.plugins)
        try:
            plugin = declared.make(params, handle)
        except ParameterError as error:
            path = f"{declaration.path}.{error.key}" if error.key else declaration.path
            self._findings.error(path, "wrong-value", error.rule)
            return None
        except Exception as error:
            if not declared.origin:
                raise
            self._wrong(
                declaration,
                "broken-plugin",
                f"{declared.name} of {declared.origin} cannot be made: "
                f"{type(error).__name__}: {error}",
            )
            return None
        plugin.bind(declaration.name)
        return plugin

    def _wrong(self, declaration: Declaration, rule: str, text: str) -> None:
        self._findings.error(declaration.path.removesuffix(".parameters"), rule, text)

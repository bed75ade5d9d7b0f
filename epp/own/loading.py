"""Plugin types from Python files and from installed packages, beside the built-in ones."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import msgspec

from epp.core.plugin import REGISTRY, Params, Plugin, PluginType
from epp.own.roles import missing, roles_of

GROUP = "epp.plugins"
_MODULE_PREFIX = "epp_own_"
_NO_PLUGINS = ("_", ".", "test_", "conftest.")

# What packages declared, by module: a process imports one once, so it registers its types once.
_INSTALLED: dict[str, list[PluginType]] = {}


class OwnPluginError(Exception):
    """Plugins of the user's own cannot be used; each problem is one line with file and line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


def load_own(
    folders: Iterable[str | Path], builtin: Mapping[str, PluginType]
) -> Mapping[str, PluginType]:
    """The types of ``builtin``, those in the folders' files and those of installed packages.

    A file is every ``*.py`` of a folder but tests and those that begin with ``_``, which the others
    may import. Packages name their modules as entry points of the group ``epp.plugins``. Each
    call runs the files anew; what they register is not in ``REGISTRY`` afterwards. Their modules
    stay in ``sys.modules`` until the next call for the same folders.

    Raises:
        OwnPluginError: with every problem of every file; all is then as it was before.
    """
    return _Loading(builtin).run([Path(folder).absolute() for folder in folders])


def files_in(folders: Iterable[str | Path]) -> list[Path]:
    """The Python files of the folders, those that others may import included."""
    return [path for folder in folders for path in sorted(Path(folder).glob("*.py"))]


def load_file(path: Path, builtin: Mapping[str, PluginType]) -> list[PluginType]:
    """The types of one file, whatever it is called.

    Raises:
        OwnPluginError: as ``load_own``.
    """
    return _Loading(builtin).run_file(path.absolute())


class _Loading:
    """One load: collects types and problems."""

    def __init__(self, builtin: Mapping[str, PluginType]) -> None:
        self._builtin = builtin
        self._catalogue = dict(builtin)
        self._problems: list[str] = []
        self._taken = {
            name: declared.origin or "built in"
            for declared in builtin.values()
            for name in (declared.name, *declared.aliases)
        }

    def run(self, folders: list[Path]) -> Mapping[str, PluginType]:
        prefixes = tuple(map(_module_prefix, folders))
        before = {n: module for n, module in sys.modules.items() if n.startswith(prefixes)}
        for name in before:
            del sys.modules[name]
        for point in {point.module: point for point in entry_points(group=GROUP)}.values():
            self._load_installed(point)
        for folder in dict.fromkeys(folders):
            self._load_folder(folder)
        if self._problems:
            for name in [name for name in sys.modules if name.startswith(prefixes)]:
                del sys.modules[name]
            sys.modules.update(before)
            raise OwnPluginError(self._problems)
        return self._catalogue

    def run_file(self, path: Path) -> list[PluginType]:
        with _importing_from(path.parent):
            self._load_file(path)
        if self._problems:
            raise OwnPluginError(self._problems)
        return [t for t in self._catalogue.values() if t.origin == str(path)]

    def _load_folder(self, folder: Path) -> None:
        try:
            paths = sorted(path for path in folder.iterdir() if _is_plugin_file(path))
        except OSError as error:
            self._problems.append(f"{folder}: {error.strerror}")
            return
        with _importing_from(folder):
            for path in paths:
                self._load_file(path)

    def _load_file(self, path: Path) -> None:
        module = ModuleType(_module_prefix(path.parent) + re.sub(r"\W", "_", path.stem))
        module.__file__ = str(path)
        try:
            source = path.read_bytes()
        except OSError as error:
            self._problems.append(f"{path}: {error.strerror}")
            return

        def run() -> None:
            # Compiled here, not by an import: that would trust byte code of the same second.
            code = compile(source, str(path), "exec", dont_inherit=True)
            sys.modules[module.__name__] = module
            exec(code, vars(module))

        types = self._collect(run, str(path), lambda error: _place_in(path, error))
        for declared in types or ():
            place = f"{path}:{_line_of(declared.cls, source)}"
            self._add(declared, place, str(path))

    def _load_installed(self, point: EntryPoint) -> None:
        origin = f"{point.dist.name if point.dist else 'a package'} ({point.module})"
        types = _INSTALLED.get(point.module)
        if types is None:
            types = self._collect(
                lambda: importlib.import_module(point.module),
                origin,
                lambda error: _last_place(origin, error),
            )
            if types is None:
                return
            _INSTALLED[point.module] = types
        for declared in types:
            self._add(declared, origin, origin)

    def _collect(
        self,
        run: Callable[[], object],
        place: str,
        place_of: Callable[[BaseException], str],
    ) -> list[PluginType] | None:
        """What ``run`` registers; None, and a problem, where it fails or registers nothing."""
        before = dict(REGISTRY)
        REGISTRY.update(self._builtin)
        known = set(REGISTRY)
        try:
            run()
            types = [declared for name, declared in REGISTRY.items() if name not in known]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._problems.append(f"{place_of(error)}: {self._text(error)}")
            return None
        finally:
            REGISTRY.clear()
            REGISTRY.update(before)
        if not types:
            self._problems.append(f"{place}: registers no plugin type, see epp.core.plugin.plugin")
            return None
        return types

    def _text(self, error: BaseException) -> str:
        """What to say of an exception, in one line."""
        twice = re.fullmatch(r"plugin type '(.*)' is declared twice", str(error))
        if twice and twice[1] in self._taken:
            return f"plugin type '{twice[1]}' exists already: {self._taken[twice[1]]}"
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return " ".join(f"{type(error).__name__}: {text}".split()).removesuffix(":")

    def _add(self, declared: PluginType, place: str, origin: str) -> None:
        problems = [
            f"plugin type '{name}' exists already: {self._taken[name]}"
            for name in (declared.name, *declared.aliases)
            if name in self._taken
        ]
        problems += _problems_of(declared)
        if problems:
            self._problems += [f"{place}: {problem}" for problem in problems]
            return
        self._catalogue[declared.name] = msgspec.structs.replace(declared, origin=origin)
        self._taken.update(dict.fromkeys((declared.name, *declared.aliases), origin))


def _problems_of(declared: PluginType) -> Iterator[str]:
    """What is wrong with a type by itself."""
    cls, name = declared.cls, declared.name
    if not isinstance(cls, type) or not issubclass(cls, Plugin) or not roles_of(cls):
        yield f"plugin type '{name}' is no subclass of a role such as epp.core.plugin.Scorer"
        return
    for method in missing(cls):
        yield f"plugin type '{name}' lacks the method {method}"
    if not isinstance(declared.params, type) or not issubclass(declared.params, Params):
        yield f"the parameters of plugin type '{name}' are no subclass of epp.core.plugin.Params"
        return
    try:
        # Resolves the annotations while the module that they are written in is at hand.
        msgspec.convert({}, declared.params)
    except msgspec.ValidationError:
        pass  # some are required
    except Exception as error:
        yield f"the parameters of plugin type '{name}' cannot be read: {error}"


def _is_plugin_file(path: Path) -> bool:
    """Of a mounted ConfigMap these are links through ``..data``, which is no file itself."""
    return path.suffix == ".py" and not path.name.startswith(_NO_PLUGINS) and path.is_file()


def _module_prefix(folder: Path) -> str:
    """What the names of the modules of a folder begin with; another folder has another."""
    return f"{_MODULE_PREFIX}{hashlib.sha256(bytes(folder)).hexdigest()[:12]}_"


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let files import what lies beside them, after everything else; nothing of that stays.

    It does stay from one file to the next: a ``DataKey`` is the same only if its module is.
    """
    sys.path.append(str(folder))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and not name.startswith(_MODULE_PREFIX) and folder in Path(file).parents:
                del sys.modules[name]


def _place_in(path: Path, error: BaseException) -> str:
    """The file and, of what it was doing, the last line."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}" if error.lineno else str(path)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _last_place(origin: str, error: BaseException) -> str:
    """The origin, and where the exception comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename.startswith("<frozen"):
        return origin
    return f"{origin}: {frames[-1].filename}:{frames[-1].lineno}"


def _line_of(cls: object, source: bytes) -> int:
    """Where the class is declared, its decorators included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == getattr(cls, "__name__", ""):
            return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return 1

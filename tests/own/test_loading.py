from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from epp.core.plugin import REGISTRY, Params, PluginType, Scorer
from epp.own.loading import OwnPluginError, load_own
from tests.fakes import endpoints, make_handle, make_request

HEAD = """\
from __future__ import annotations
from collections.abc import Sequence
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, NoParams, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest
"""
HEAD_LINES = len(HEAD.splitlines())
SCORER = (
    HEAD
    + """
class Mine(Params, frozen=True):
    how_much: float = {value}


@plugin("{name}", params=Mine, stability=Stability.BETA)
class MyScorer(Scorer):
    def __init__(self, params: Mine, handle: object) -> None:
        self._value = params.how_much

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [self._value for _ in endpoints]
"""
)


def scorer(name: str = "my-scorer", value: float = 0.5) -> str:
    return SCORER.format(name=name, value=value)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text)
    return folder


def score_of(catalogue: Mapping[str, PluginType], name: str = "my-scorer", **given: float) -> float:
    declared = catalogue[name]
    made = declared.make(declared.params(**given), make_handle())
    assert isinstance(made, Scorer)
    return made.score(make_request(), endpoints(0))[0]


def problems(*folders: Path) -> list[str]:
    before, modules = dict(REGISTRY), set(sys.modules)
    with pytest.raises(OwnPluginError) as raised:
        load_own(folders, REGISTRY)
    assert (before, modules) == (REGISTRY, set(sys.modules))
    return raised.value.problems


def test_a_file_s_types_stand_beside_the_built_in_ones_and_the_registry_is_as_before(
    tmp_path: Path,
) -> None:
    before = dict(REGISTRY)
    write(tmp_path, my=scorer())
    catalogue = load_own([tmp_path], REGISTRY)
    assert catalogue.keys() - before.keys() == {"my-scorer"}
    assert before == REGISTRY
    assert catalogue["my-scorer"].origin == str(tmp_path / "my.py")
    assert catalogue["queue-scorer"] is REGISTRY["queue-scorer"]
    assert score_of(catalogue) == 0.5


def test_without_folders_there_are_the_built_in_types() -> None:
    assert load_own([], REGISTRY) == REGISTRY


def test_one_file_may_register_several_types(tmp_path: Path) -> None:
    second = scorer("b-scorer").removeprefix(HEAD).replace("MyScorer", "Other")
    write(tmp_path, both=scorer("a-scorer") + second)
    assert {"a-scorer", "b-scorer"} <= load_own([str(tmp_path)], REGISTRY).keys()


def test_tests_hidden_files_and_helpers_are_no_plugins(tmp_path: Path) -> None:
    broken = dict.fromkeys(("_helper", ".hidden", "test_my", "conftest"), "raise ValueError")
    write(tmp_path, my=scorer(), **broken)
    (tmp_path / "notes.txt").write_text("no python")
    (tmp_path / "folder.py").mkdir()
    assert "my-scorer" in load_own([tmp_path], REGISTRY)


def test_a_mounted_config_map_is_a_folder_of_links(tmp_path: Path) -> None:
    write(tmp_path / "..2026_01", my=scorer(value=0.25))
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "my.py").symlink_to("..data/my.py")
    first = load_own([tmp_path], REGISTRY)
    write(tmp_path / "..2026_02", my=scorer(value=0.75))
    (tmp_path / "..new").symlink_to("..2026_02")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert (score_of(first), score_of(load_own([tmp_path], REGISTRY))) == (0.25, 0.75)


def test_files_that_bear_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / "a", my=scorer("a-scorer", 0.1)),
        write(tmp_path / "b", my=scorer("b-scorer", 0.2)),
    ]
    catalogue = load_own(folders, REGISTRY)
    assert [score_of(catalogue, name) for name in ("a-scorer", "b-scorer")] == [0.1, 0.2]
    modules = {catalogue[name].cls.__module__ for name in ("a-scorer", "b-scorer")}
    assert len(modules) == 2
    assert modules <= set(sys.modules)


def test_a_changed_file_is_loaded_anew_and_only_its_last_version_stays(tmp_path: Path) -> None:
    # Versions of one length within one second: byte code that is kept would hide the second one.
    loaded = []
    for value in (0.1, 0.2, 0.3):
        write(tmp_path, my=scorer(value=value))
        loaded.append(load_own([tmp_path], REGISTRY))
        modules = [name for name in sys.modules if name.startswith("epp_own_")]
        (mine,) = [n for n in modules if sys.modules[n].__file__ == str(tmp_path / "my.py")]
        assert sys.modules[mine] is sys.modules[loaded[-1]["my-scorer"].cls.__module__]
    assert [score_of(catalogue) for catalogue in loaded] == [0.1, 0.2, 0.3]
    assert not (tmp_path / "__pycache__").exists()
    (tmp_path / "my.py").unlink()
    assert "my-scorer" not in load_own([tmp_path], REGISTRY)
    assert mine not in sys.modules
    assert score_of(loaded[0]) == 0.1


def test_a_version_that_fails_leaves_the_one_before_it(tmp_path: Path) -> None:
    write(tmp_path, my=scorer())
    module = load_own([tmp_path], REGISTRY)["my-scorer"].cls.__module__
    kept = sys.modules[module]
    write(tmp_path, my=scorer() + "raise ValueError('no')")
    problems(tmp_path)
    assert sys.modules[module] is kept


def test_files_of_a_folder_share_what_lies_beside_them(tmp_path: Path) -> None:
    shared = HEAD + "from _keys import KEY\n" + scorer("{}-scorer").removeprefix(HEAD)
    one, two = (shared.replace("{}", name) + "KEY.append(1)\n" for name in "ab")
    write(tmp_path, one=one, two=two + "assert KEY == [1, 1]\n", _keys="KEY = []\n")
    for _ in range(2):
        load_own([tmp_path], REGISTRY)
    assert "_keys" not in sys.modules
    assert str(tmp_path) not in sys.path
    assert not (tmp_path / "__pycache__").exists()


def test_a_file_may_be_called_as_a_module_of_python(tmp_path: Path) -> None:
    write(tmp_path, random=scorer(), my=scorer("b") + "\nimport random\nrandom.Random\n")
    assert "b" in load_own([tmp_path], REGISTRY)


def test_a_parameter_without_default_is_no_problem(tmp_path: Path) -> None:
    write(tmp_path, my=scorer().replace("how_much: float = 0.5", "how_much: float"))
    assert score_of(load_own([tmp_path], REGISTRY), how_much=0.7) == 0.7


AFTER = HEAD_LINES + 1
BARE = "@plugin('x', params=NoParams, stability=Stability.BETA)\nclass X{}:\n    pass\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nraise ValueError('no\\n such')\n", ":2: ValueError: no such"),
        ("def f():\n    1 / 0\n\nf()\n", ":2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('')\n", ":2: JSONDecodeError: Expecting value"),
        ("x = 1\nx = = 2\n", ":2: SyntaxError: invalid syntax"),
        ("x = '\0'\n", ": "),
        ("import nothing_such\n", ":1: ModuleNotFoundError: No module named 'nothing_such'"),
        ("import sys\nsys.exit(3)\n", ":2: SystemExit: 3"),
        ("raise SystemExit\n", ":1: SystemExit"),
        ("raise GeneratorExit\n", ":1: GeneratorExit"),
        ("x = 1\n", ": registers no plugin type, see epp.core.plugin.plugin"),
        ("", ": registers no plugin type, see epp.core.plugin.plugin"),
        (
            scorer("queue-scorer"),
            f":{HEAD_LINES + 6}: plugin type 'queue-scorer' exists already: built in",
        ),
        (
            HEAD + BARE.format("(Scorer)") * 2,
            f":{HEAD_LINES + 4}: ValueError: plugin type 'x' is declared twice",
        ),
        (
            HEAD + BARE.format(""),
            f":{AFTER}: plugin type 'x' is no subclass of a role such as epp.core.plugin.Scorer",
        ),
        (
            HEAD + BARE.format("(Scorer, Filter)").replace("pass", "def score(self): ..."),
            f":{AFTER}: plugin type 'x' lacks the method Filter.filter",
        ),
        (
            HEAD + BARE.format("(Scorer)").replace("pass", "score = 1").replace("NoParams", "int"),
            f":{AFTER}: the parameters of plugin type 'x' are no subclass of "
            "epp.core.plugin.Params",
        ),
        (
            scorer().replace("how_much: float", "how_much: Annotated[float, 1]"),
            f":{HEAD_LINES + 6}: the parameters of plugin type 'my-scorer' cannot be read: "
            "name 'Annotated' is not defined",
        ),
        (
            scorer().replace("BETA", "BETA, aliases=['queue-scorer']"),
            f":{HEAD_LINES + 6}: plugin type 'queue-scorer' exists already: built in",
        ),
    ],
)
def test_a_problem_has_its_file_its_line_and_its_text(
    tmp_path: Path, text: str, expected: str
) -> None:
    write(tmp_path, my=text)
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"{tmp_path / 'my.py'}{expected}")
    assert "\n" not in problem


def test_the_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    a = write(tmp_path / "a", one="1 / 0", three=scorer(), two="import sys; sys.exit()")
    b = write(tmp_path / "b", again=scorer())
    found = problems(a, tmp_path / "nowhere", b)
    assert [line.removeprefix(str(tmp_path)).split(": ", 1) for line in found] == [
        ["/a/one.py:1", "ZeroDivisionError: division by zero"],
        ["/a/two.py:1", "SystemExit"],
        ["/nowhere", "No such file or directory"],
        [
            f"/b/again.py:{HEAD_LINES + 6}",
            f"plugin type 'my-scorer' exists already: {a / 'three.py'}",
        ],
    ]


def test_a_file_that_fails_half_way_leaves_nothing_in_the_registry(tmp_path: Path) -> None:
    write(tmp_path, my=scorer("half-scorer") + "\n1 / 0\n")
    problems(tmp_path)
    assert "half-scorer" not in REGISTRY


def test_ctrl_c_is_no_problem_of_a_file(tmp_path: Path) -> None:
    before = dict(REGISTRY)
    write(tmp_path, my=scorer() + "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_own([tmp_path], REGISTRY)
    assert before == REGISTRY


def install(folder: Path, package: str, **files: str) -> None:
    """A package as pip leaves it, with each of its modules as an entry point."""
    write(folder / package, __init__="", **files)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    points = [f"{stem} = {package}.{stem}" for stem in files]
    (info / "entry_points.txt").write_text("\n".join(["[epp.plugins]", *points, ""]))


def test_installed_packages_are_loaded_once_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "epp_test_good", one=scorer("installed-scorer"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        catalogue = load_own([], REGISTRY)
        declared = catalogue["installed-scorer"]
        assert declared.origin == "epp_test_good (epp_test_good.one)"
        assert isinstance(declared.params(), Params)
        assert "installed-scorer" not in REGISTRY


def test_an_installed_package_that_fails_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "epp_test_bad", one="x = 1\n1 / 0\n")
    info = tmp_path / "epp_test_bad-1.0.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "gone = epp_test_gone\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OwnPluginError) as raised:
        load_own([], REGISTRY)
    assert raised.value.problems == [
        f"epp_test_bad (epp_test_bad.one): {tmp_path}/epp_test_bad/one.py:2: "
        "ZeroDivisionError: division by zero",
        "epp_test_bad (epp_test_gone): ModuleNotFoundError: No module named 'epp_test_gone'",
    ]

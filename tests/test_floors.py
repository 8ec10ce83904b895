"""The house's floors as they run: what may be imported where, and that every command answers for itself.

The import contracts themselves are import-linter's (``make lint``); these hold in a running interpreter.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from coordinator.cli import main as coordinator_main
from shared.runtime.console import CommandGroup
from simulations.cli import main as simulate_main
from site_agent.cli import main as site_main

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("shared", "protocol", "site_agent", "coordinator", "simulations")
SCRIPTS: dict[str, CommandGroup] = {
    "crosslot-site": site_main,
    "crosslot-coordinator": coordinator_main,
    "crosslot-simulate": simulate_main,
}

_IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)

sys.meta_path.insert(0, Absent())
count = 0
for package in {packages!r}:
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        importlib.import_module(module.name)
        count += 1
print(count)
"""


def imports_without(packages: tuple[str, ...], blocked: tuple[str, ...]) -> int:
    """Import every module of ``packages`` in a fresh interpreter that lacks ``blocked``; return how many."""
    code = _IMPORT_ALL.format(blocked=set(blocked), packages=packages)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter, our own text
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def modules_of(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"]


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_the_coordinator_runs_where_nothing_that_opens_cells_is_installed() -> None:
    opens_cells = ("anndata", "scanpy", "h5py", "zarr", "numba", "hdf5plugin", "igraph", "leidenalg", "site_agent")
    n_modules = imports_without(("coordinator", "protocol", "shared.statistics", "shared.runtime"), opens_cells)
    assert n_modules >= len(modules_of("coordinator")) + len(modules_of("protocol"))


def test_the_site_runs_without_the_coordinators_code() -> None:
    assert imports_without(("site_agent",), ("coordinator", "simulations")) >= len(modules_of("site_agent"))


@pytest.mark.parametrize("path", modules_of("shared/statistics"), ids=lambda path: path.stem)
def test_statistics_are_pure_arrays_in_and_arrays_out(path: Path) -> None:
    unwanted = {"os", "io", "pathlib", "time", "datetime", "random", "subprocess", "socket", "click", "protocol"}
    assert unwanted.isdisjoint(name.partition(".")[0] for name in imported_by(path))
    calls = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if _calls_a_name(node)}  # type: ignore[attr-defined]  # filtered by the predicate
    assert calls.isdisjoint({"open", "print", "input"})


def _calls_a_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_packages_init_holds_a_docstring_and_nothing_else(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def commands_of(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    yield above
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands_of(command, *above, name)
        else:
            yield (*above, name)


ALL_COMMANDS = [(script, command) for script, main in SCRIPTS.items() for command in commands_of(main)]


@pytest.mark.parametrize(
    ("script", "command"), ALL_COMMANDS, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_every_command_answers_help_and_explains_every_option(script: str, command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(SCRIPTS[script], [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert len(result.stdout.splitlines()) > 3


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_list_of_commands_says_of_each_what_the_command_says_of_itself(script: str) -> None:
    main = SCRIPTS[script]
    for name, deferred in main.deferred.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert click.Command(name, help=deferred.summary).get_short_help_str(500) == command.get_short_help_str(500)


@pytest.mark.parametrize("package", ["site_agent", "coordinator", "simulations"])
def test_help_loads_no_library_of_numbers_models_or_networks(package: str) -> None:
    code = (
        f"import sys; from {package}.cli import main; main(['--help'], standalone_mode=False); "
        "heavy = {'numpy', 'pandas', 'scipy', 'pydantic', 'h5py', 'flwr', 'grpc', 'jinja2', 'rich', 'cryptography'};"
        "print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--help" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_tells_its_version(script: str) -> None:
    result = CliRunner().invoke(SCRIPTS[script], ["--version"])
    assert result.exit_code == 0
    assert re.search(r"\d+\.\d+\.\d+", result.stdout)


def test_the_commands_that_the_readers_are_told_of_exist() -> None:
    known = {(script, " ".join(command)) for script, command in ALL_COMMANDS}
    assert {
        ("crosslot-site", "check"),
        ("crosslot-site", "map"),
        ("crosslot-site", "atlas build"),
        ("crosslot-coordinator", "key create"),
        ("crosslot-coordinator", "atlas sign"),
        ("crosslot-coordinator", "study sign"),
        ("crosslot-coordinator", "analyse"),
        ("crosslot-coordinator", "report"),
        ("crosslot-simulate", "split"),
        ("crosslot-simulate", "run"),
        ("crosslot-simulate", "demo"),
    } <= known


# Folders of one person's machine. Example paths of tests (/data/...) are no one's.
_OWN_PATHS = re.compile(rb"/(?:home|Users|root|work)/[A-Za-z0-9_.-]+/|[A-Z]:\\\\Users\\\\")


def test_no_committed_text_names_a_path_of_someones_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)  # noqa: S607 - git, wherever it is
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what is committed cannot be known")
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 100
    found = {
        name: match.group().decode()
        for name in names
        if (match := _OWN_PATHS.search((ROOT / name).read_bytes())) is not None and name != "tests/test_floors.py"
    }
    assert found == {}

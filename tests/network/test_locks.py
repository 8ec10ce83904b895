"""The locks of the two ends: each pins what the common lock pins; the coordinator's has nothing that opens cells."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPENS_CELLS = {"anndata", "scanpy", "h5py", "zarr", "numba", "igraph", "leidenalg", "pyarrow", "hdf5plugin", "deflate"}


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def names(lock: str) -> set[str]:
    return {each.partition("==")[0] for each in pinned(lock)}


def wanted(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    return {re.split(r"[<>=~! ;\[]", line, maxsplit=1)[0].lower() for line in lines}


@pytest.mark.parametrize("role", ["coordinator", "site"])
def test_a_roles_lock_is_a_part_of_the_common_one(role: str) -> None:
    assert pinned(f"deploy/{role}.lock") <= pinned("requirements.lock")


@pytest.mark.parametrize("role", ["coordinator", "site"])
def test_a_roles_lock_has_all_that_the_role_needs_and_what_builds_it(role: str) -> None:
    assert wanted(role) | {"setuptools"} <= names(f"deploy/{role}.lock")


def test_the_coordinators_lock_has_nothing_that_opens_cells() -> None:
    assert names("deploy/coordinator.lock").isdisjoint(OPENS_CELLS)
    assert names("deploy/site.lock") >= OPENS_CELLS - {"leidenalg"}


@pytest.mark.parametrize("role", ["coordinator", "site"])
def test_every_pin_has_hashes_and_no_registry_is_named(role: str) -> None:
    text = (ROOT / f"deploy/{role}.lock").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text

"""What every test may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: speed is kept in benchmarks/, never as a timed test.
settings.register_profile("crosslot", deadline=None)
settings.load_profile("crosslot")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _required_folder(name: str) -> Path:
    folder = _SHARED / name
    if folder.is_dir():
        return folder
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have ../shared/{name}, and it is absent")
    pytest.skip(f"../shared/{name} is absent: this test reads real input from it")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; required in CI."""
    return _required_folder("data")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of input -> expected pairs; required in CI."""
    return _required_folder("vectors")

"""Builds the C library of ``shared/native``; all else about the package stands in pyproject.toml.

Plain C11 without Python's headers, loaded by ctypes: it serves every Python of a platform, and nothing but a C compiler
is needed to build it: $CC, cc, gcc or clang, or zig's from the wheel ``ziglang`` (``make setup`` brings it
where there is none).
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

# No instruction beyond the processor's family, and no arithmetic but IEEE's: the same bits everywhere.
FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)


def compiler() -> list[str]:
    """Return the command of a C compiler."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]  # by itself it would take this very processor
    raise CompileError("expected a C compiler, found none: install gcc or clang, or `pip install ziglang`")


class BuildLibrary(build_ext):
    """Compiles all sources with one command."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return a name that Python does not take for a module of its own."""
        return str(Path(*fullname.split("."))) + ".clib"

    def build_extension(self, ext: Extension) -> None:
        """Compile; the library carries its sources' SHA-256, by which ``shared/native/library.py`` knows it."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.with_suffix(f".{os.getpid()}")  # moved into place: it may be in use
        contents = b"".join(Path(path).read_bytes() for path in sorted((*ext.sources, *ext.depends)))
        digest = f'-DSOURCES_SHA256="{hashlib.sha256(contents).hexdigest()}"'
        flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", "")), digest]
        try:
            subprocess.run([*compiler(), *flags, *ext.sources, "-o", str(building), "-lm"], check=True)  # noqa: S603 - the compiler that the builder chose
            building.replace(target)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(f"{ext.name}: {error}") from error
        finally:
            building.unlink(missing_ok=True)


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the wheel's tag."""
        return "py3", "none", super().get_tag()[2]


SOURCES = Path("shared/native")

setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
    ext_modules=[
        Extension(
            "shared.native.library",
            sorted(map(str, SOURCES.glob("*.c"))),
            depends=sorted(map(str, SOURCES.glob("*.h"))),
        )
    ],
)

"""Files and folders appear whole or not at all."""

import os
from pathlib import Path

import pytest

from shared.errors import InputError, NoRoomError
from shared.runtime.files import appearing_whole, read_bounded, write_atomically


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_written_file_holds_its_bytes_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one", mode=0o600)
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoomError, match="disk-full: cannot write") as caught:
        write_atomically(path, b"new")
    assert caught.value.hint is not None
    assert "make room" in caught.value.hint
    assert content(tmp_path) == {"file": b"old"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write here"):
        write_atomically(tmp_path / "file" / "below", b"")


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_within_its_limit_is_read_whole(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert read_bounded(tmp_path / "file", limit=10, what="a file") == b"x" * size


@pytest.mark.parametrize("name", ["absent", "folder", "large"])
def test_a_file_that_is_absent_a_folder_or_too_large_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(InputError, match=f"{name}: expected a plan"):
        read_bounded(tmp_path / name, limit=10, what="a plan")


def test_a_folder_appears_at_the_end_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "out"
    with appearing_whole(out) as work:
        (work / "file").write_bytes(b"x")
        assert not out.exists()
    assert content(out) == {"file": b"x"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind_not_even_the_folders_above(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "mine").mkdir()

    def work_and_fail() -> None:
        with appearing_whole(tmp_path / "mine" / "a" / "b" / "out") as work:
            (work / "file").write_bytes(b"x")
            raise error

    with pytest.raises(type(error)):
        work_and_fail()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_an_empty_folder_is_taken_and_one_with_content_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with appearing_whole(tmp_path / "empty") as work:
        (work / "file").write_bytes(b"x")
    assert content(tmp_path / "empty") == {"file": b"x"}
    with pytest.raises(InputError, match="expected a new or empty folder"), appearing_whole(tmp_path / "empty"):
        pytest.fail("a folder with content was taken")
    assert content(tmp_path) == {"empty/file": b"x"}


def test_a_file_in_the_folders_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(InputError, match="new or empty folder"), appearing_whole(tmp_path / "out"):
        pytest.fail("a file was taken for a folder")
    assert content(tmp_path) == {"out": b"mine"}


def test_an_earlier_output_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def make(number: int, *, fails: bool = False) -> None:
        with appearing_whole(out, replaces="results.json") as work:
            (work / "results.json").write_bytes(b"%d" % number)
            (work / f"file-{number}").write_bytes(b"")
            if fails:
                raise ValueError("on the way")

    make(1)
    with pytest.raises(ValueError, match="on the way"):
        make(2, fails=True)
    assert content(tmp_path) == {"out/file-1": b"", "out/results.json": b"1"}
    make(3)
    assert content(tmp_path) == {"out/file-3": b"", "out/results.json": b"3"}

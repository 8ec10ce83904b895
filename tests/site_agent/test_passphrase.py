"""The steward's passphrase: one rule on its file for every command that takes one."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from protocol.certificates import issue_invite, new_authority
from protocol.enrolment import compose_invite, write_invite
from protocol.identifiers import instant
from shared.errors import InputError
from shared.runtime.console import CommandGroup
from site_agent import network_commands
from site_agent.passphrase import steward_passphrase
from site_agent.review import commands as review_commands
from tests.study_parts import COORDINATOR, KYOTO

SECRET = "correct horse battery"  # noqa: S105 - of these tests
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


def a_file(folder: Path, mode: int, data: bytes = SECRET.encode() + b"\n") -> Path:
    path = folder / "passphrase"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def site(*arguments: str) -> Result:
    given = [review_commands.home_group, review_commands.review, *network_commands.COMMANDS]
    return CliRunner().invoke(CommandGroup("crosslot-site", commands=given), list(arguments))


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_of_the_owner_holds_the_passphrase(tmp_path: Path, ending: bytes) -> None:
    for mode in (0o600, 0o400):
        path = a_file(tmp_path, mode, SECRET.encode() + ending)
        assert steward_passphrase(path) == SECRET
        path.unlink()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = a_file(tmp_path, mode)
    with pytest.raises(InputError, match="others can read the passphrase") as caught:
        steward_passphrase(path)
    assert caught.value.hint == f"run: chmod 600 {path}"


def test_a_pipe_of_the_callers_own_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode() + b"\n")
    os.close(writing)
    try:
        assert steward_passphrase(Path(f"/dev/fd/{reading}")) == SECRET
    finally:
        os.close(reading)


def test_no_file_a_folder_and_a_long_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a passphrase, found no file"):
        steward_passphrase(tmp_path / "none")
    with pytest.raises(InputError, match="expected a passphrase, cannot read it"):
        steward_passphrase(tmp_path)
    with pytest.raises(InputError, match="at most 4096 bytes"):
        steward_passphrase(a_file(tmp_path, 0o600, b"x" * 4_097))


def test_a_new_passphrase_is_asked_for_twice_and_an_old_one_once() -> None:
    @click.command()
    @click.option("--new", is_flag=True)
    def ask(*, new: bool) -> None:
        click.echo(steward_passphrase(None, confirm=new))

    assert CliRunner().invoke(ask, input=f"{SECRET}\n").stdout == f"{SECRET}\n"
    assert CliRunner().invoke(ask, ["--new"], input=f"{SECRET}\n{SECRET}\n").stdout == f"{SECRET}\n"
    assert CliRunner().invoke(ask, ["--new"], input=f"{SECRET}\nanother one\n").exit_code == 1


def test_join_and_create_refuse_it_alike_and_make_nothing(tmp_path: Path) -> None:
    expires = NOW + timedelta(days=7)
    authority = new_authority(NOW)
    invite = tmp_path / "invite"
    invite.write_text(
        write_invite(
            compose_invite(
                site=KYOTO,
                address="coordinator.example.org:8443",
                token="ab" * 32,
                authority_pem=authority.certificate,
                pair=issue_invite(authority, KYOTO, NOW, expires),
                coordinator=COORDINATOR.verifying_key,
                expires=instant(expires),
            )
        )
    )
    public = tmp_path / "coordinator.pub"
    public.write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    home, passphrase = tmp_path / "home", a_file(tmp_path, 0o644)
    given = ("--home", str(home), "--passphrase-file", str(passphrase))
    for refused in (
        site("join", str(invite), *given),
        site("home", "create", "--site", KYOTO, "--coordinator-key", str(public), *given),
    ):
        assert refused.exit_code == 1
        assert "others can read the passphrase" in refused.stderr
        assert not home.exists()

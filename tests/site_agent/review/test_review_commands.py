"""The review at the terminal: its walk, the policy, the lots held back, and a home made by the command."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from protocol.errors import ErrorCode
from protocol.policy import write_policy
from shared.runtime.files import write_atomically
from site_agent.release.decisions import State
from tests.site_agent.review.conftest import AHome, item_named, items_of, said, site
from tests.study_parts import COORDINATOR, STRANGER, STUDY, THREE_LOTS, Lots, make_policy


def test_a_lot_that_a_rule_held_back_is_told_with_its_reason(a_home: AHome, run: Callable[..., Result]) -> None:
    a_home.source = Lots({"BM-01": (20, 5, 5), "BM-02": (500, 400, 100)})
    said(a_home)
    assert [item.lot_name for item in items_of(a_home)] == ["BM-02"]
    (line,) = json.loads(run("review", "held-back", "--json").stdout)
    assert (line["lot_name"], line["reasons"]) == ("BM-01", ["Fewer than 50 cells are certain."])
    assert "not in the airlock: BM-01" in run("review").stdout
    assert "Fewer than 50 cells" in run("review", "held-back").stdout
    a_home.source = Lots(THREE_LOTS)
    said(a_home)
    assert run("review", "held-back").stdout == "No lot was held back.\n"


def test_the_terminal_walk_from_waiting_to_approved(waiting: AHome, run: Callable[..., Result]) -> None:
    listed = json.loads(run("review", "--json").stdout)
    assert {each["state"] for each in listed} == {"pending"}
    shown = run("review", "show", "BM-01")
    held = item_named(waiting, "BM-01").held
    assert held.payload.decode() in shown.stdout
    assert held.payload_sha256 in shown.stdout
    assert "your name: BM-01" in shown.stdout
    assert run("review", "approve", "BM-01", "BM-02", signs=True).exit_code == 0
    withheld = run("review", "withhold", "BM-03", "--cluster", "c2", signs=True)
    assert "Withheld; this waits now" in withheld.stdout
    refused = run("review", "refuse", "BM-03", "--reason", "not ours to give", signs=True)
    assert "Refused: lot BM-03" in refused.stdout
    assert len(said(waiting)[1].reports) == 2
    headed = run("review")
    assert headed.stdout.startswith("2 reports left after approval. 0 wait for your decision")


def test_wrong_names_wrong_passphrases_and_open_files_are_told(
    waiting: AHome, run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run("review", "show", "BM-99").exit_code == 1
    (tmp_path / "passphrase").write_bytes(b"something else")
    failed = run("review", "approve", "BM-01", "--json", signs=True)
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["success"] is False
    (tmp_path / "passphrase").chmod(0o644)
    assert "others can read" in run("review", "approve", "BM-01", signs=True).stderr
    assert {held.state for held in waiting.held()} == {State.PENDING}


def test_no_decision_is_signed_by_a_passphrase_that_others_can_read(
    waiting: AHome, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "passphrase").chmod(0o644)
    for command in (
        ("approve", "BM-01"),
        ("refuse", "BM-01", "--reason", "no"),
        ("withhold", "BM-01", "--cluster", "c2"),
    ):
        refused = run("review", *command, signs=True)
        assert refused.exit_code == 1
        assert "others can read the passphrase" in refused.stderr
    assert {held.state for held in waiting.held()} == {State.PENDING}


def test_policy_is_shown_explained_and_checked(waiting: AHome, run: Callable[..., Result]) -> None:
    document = json.loads(run("policy", "show", "--json").stdout)
    assert document["in_force"][STUDY]["auto_approved"] is False
    assert "Nothing leaves without a steward's signature." in run("policy", "explain").stdout
    assert run("policy", "check").exit_code == 0
    alien = make_policy(auto=False).model_copy(update={"allowed_coordinators": (STRANGER.fingerprint,)})
    write_atomically(waiting.home.folder / "policy.toml", write_policy(alien))
    checked = run("policy", "check", "--json")
    assert checked.exit_code == 1
    assert "allowed_coordinators" in json.loads(checked.stdout)["problems"][0]
    (waiting.home.folder / "policy.toml").unlink()
    assert run("policy", "check").exit_code == 1


def test_a_first_policy_is_written_and_lets_nothing_leave_unseen(a_home: AHome, run: Callable[..., Result]) -> None:
    path = a_home.home.folder / "policy.toml"
    assert run("policy", "create", "--study", STUDY).exit_code == 1  # one is here already
    path.unlink()
    assert run("policy", "create", "--study", "No Study!").exit_code == 1
    created = run("policy", "create", "--study", STUDY, "--profile", "open")
    assert "Nothing leaves without a steward's signature." in created.stdout
    assert run("policy", "check").exit_code == 0
    assert said(a_home)[0].code is ErrorCode.AWAITING_STEWARD


def test_a_home_is_made_by_the_command(tmp_path: Path, run: Callable[..., Result]) -> None:
    (tmp_path / "coordinator.pub").write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    arguments = ["home", "create", "--site", "leiden", "--home", str(tmp_path / "leiden"), "--json"]
    arguments += ["--coordinator-key", str(tmp_path / "coordinator.pub")]
    made = CliRunner().invoke(site, [*arguments, "--passphrase-file", str(tmp_path / "passphrase")])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["success"] is True

"""Flower's simulation engine on Ray: the same bytes as in one process, and no socket that others could reach."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from flwr.app import Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RefusedError
from simulations import flower_engine, private_network
from simulations.cli import main as simulate
from simulations.flower_engine import InOrder
from simulations.grid import InProcessGrid
from simulations.private_network import interfaces_up, require_private_network
from tests.simulations.test_grid import echoing_app, query
from tests.study_with_cells import write_study

PRIVATE = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def can_unshare() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*PRIVATE, "true"], check=False, capture_output=True).returncode == 0  # noqa: S603 - our own words; no shell of the caller's


def in_private_network(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    alone = interfaces_up() == {"lo"}  # the whole test run may be in one already
    given = [*(() if alone else PRIVATE), *argv]
    return subprocess.run(given, check=False, capture_output=True, text=True)  # noqa: S603 - the same


class Tardy(InProcessGrid):
    """A grid whose replies come in another order than their questions, a few at a time."""

    def __init__(self, order: Iterable[int]) -> None:
        super().__init__({node: echoing_app([]) for node in range(1, 7)})
        self._order = list(order)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        asked = list(message_ids)
        come = [asked[place % len(asked)] for place in self._order[:2]] if asked else []
        self._order = self._order[2:] or list(range(len(asked)))
        return super().pull_messages(dict.fromkeys(come))


@given(st.lists(st.integers(0, 5), max_size=12))
@settings(max_examples=40)
def test_replies_are_given_out_in_the_order_of_their_questions(order: list[int]) -> None:
    heard: list[None] = []
    carrier = InOrder(Tardy(order), lambda: heard.append(None))
    identifiers = [*carrier.push_messages([query(node, b"%d" % node) for node in range(1, 7)])]
    replies: list[str] = []
    for _ in range(40):
        waiting = [each for each in identifiers if each not in replies]
        replies += [reply.metadata.reply_to_message_id for reply in carrier.pull_messages(waiting)]
    assert replies == identifiers
    assert len(heard) == 6


def test_ray_is_not_started_where_others_could_reach_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_engine, "require_ray", lambda: None)
    monkeypatch.setattr(private_network, "interfaces_up", lambda: frozenset({"lo", "eth0"}))
    result = CliRunner().invoke(simulate, ["run", str(tmp_path), "--out", str(tmp_path / "out"), "--engine", "flower"])
    assert result.exit_code == 1
    assert "expected a network with loopback only, found eth0" in result.stderr
    assert "ip link set lo up" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_network_without_loopback_is_told() -> None:
    with pytest.raises(RefusedError, match="lo up"):
        require_private_network(frozenset(), "Ray")
    require_private_network(frozenset({"lo"}), "Ray")


@pytest.mark.skipif(not can_unshare(), reason="no network namespace can be made here")
def test_only_loopback_is_seen_up_in_a_network_of_ones_own() -> None:
    program = "from simulations.private_network import interfaces_up; print(sorted(interfaces_up()))"
    done = in_private_network([sys.executable, "-c", program])
    assert done.stdout.strip() == "['lo']"


def test_without_ray_the_engine_is_told_to_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(simulate, ["run", str(tmp_path), "--out", str(tmp_path / "out"), "--engine", "flower"])
    assert result.exit_code == 1
    assert "needs the package ray" in result.stderr
    assert "crosslot[ray]" in result.stderr


def test_a_message_without_content_crosses() -> None:
    # The question of who a node is has none.
    assert Message(RecordDict(), dst_node_id=1, message_type="query.site").object_id


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`: make test-ray")
@pytest.mark.skipif(not can_unshare(), reason="no network namespace can be made here, and Ray is started in no other")
def test_a_run_on_ray_gives_the_bytes_of_a_run_in_one_process(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    program = "from simulations.cli import main; main()"
    done = in_private_network(
        [sys.executable, "-c", program, "run", str(study), "--out", str(tmp_path / "ray"), "--engine", "flower"]
    )
    assert done.returncode == 0, done.stderr
    here = CliRunner().invoke(simulate, ["run", str(study), "--out", str(tmp_path / "here")])
    assert here.exit_code == 0, here.stderr
    written = [
        {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
        for out in (tmp_path / "here", tmp_path / "ray")
    ]
    assert written[0] == written[1]
    assert len(list((tmp_path / "ray").glob("sites/*/sent/*-report-*.json"))) == 8

"""What a steward sees of noise: that the counts bear it, what it costs, and what is left of each lot's budget."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from click.testing import Result

from protocol.codec import encode
from protocol.errors import ErrorCode
from protocol.policy import NoisePolicy, write_policy
from shared.runtime.files import write_atomically
from site_agent.release.decisions import State
from site_agent.release.verdicts import Outcome, RuleId
from site_agent.review import acts
from tests.noisy_site import Counts, NoisyLots
from tests.site_agent.review.conftest import WHO, AHome, item_named, said
from tests.study_parts import NOW, THREE_LOTS, make_policy

COUNTS: dict[str, Counts] = {name: (counts[0], counts[1], counts[2], 60) for name, counts in THREE_LOTS.items()}


@pytest.fixture
def noisy(a_home: AHome) -> AHome:
    _ask_for_noise(a_home, epsilon=1.5, budget=2.5)
    a_home.source = NoisyLots(a_home.home.noise_book(), dict(COUNTS), a_home.home.secret())
    assert said(a_home)[0].code is ErrorCode.AWAITING_STEWARD
    return a_home


def _ask_for_noise(a_home: AHome, *, epsilon: float, budget: float) -> None:
    noise = NoisePolicy(epsilon_per_release=epsilon, epsilon_budget=budget)
    policy = make_policy(auto=False).model_copy(update={"noise": noise})
    write_atomically(a_home.home.folder / "policy.toml", write_policy(policy))


def _approve_all(noisy: AHome) -> None:
    for name in COUNTS:
        acts.approve(noisy.home, item_named(noisy, name), by=WHO, at=NOW, key=noisy.steward)


def _budget_words(noisy: AHome, name: str) -> str:
    (verdict,) = (each for each in item_named(noisy, name).verdicts if each.rule is RuleId.NOISE_BUDGET)
    assert verdict.outcome is Outcome.PASS
    return verdict.reason


def test_the_steward_sees_the_noise_its_cost_and_the_budget_left(noisy: AHome, run: Callable[..., Result]) -> None:
    shown = {line.field: line.value for line in item_named(noisy, "BM-01").lines}
    assert shown["noise on counts"] == "epsilon 1.5"
    notes = {line.field: line.note for line in item_named(noisy, "BM-01").lines}
    assert notes["cells in c0"] == "with noise"
    assert _budget_words(noisy, "BM-01") == "This draw costs 1.5; of the lot's epsilon of 2.5, 2.5 is left now."
    _approve_all(noisy)
    assert len(said(noisy)[1].reports) == 3
    assert _budget_words(noisy, "BM-01") == "This draw is paid for; of the lot's epsilon of 2.5, 1.0 is left now."
    policy = json.loads(run("policy", "show", "--json").stdout)
    assert policy["noise_budgets"] == {name: {"spent": 1.5, "left": 1.0} for name in COUNTS}
    assert "epsilon 1.5 a draw" in run("policy", "explain").stdout
    assert "Epsilon by lot" in run("policy", "show").stdout


def test_a_lot_whose_budget_is_spent_is_told_with_its_reason(noisy: AHome, run: Callable[..., Result]) -> None:
    _approve_all(noisy)
    said(noisy)
    changed: dict[str, Counts] = {**COUNTS, "BM-02": (700, 400, 100, 60)}
    noisy.source = NoisyLots(noisy.home.noise_book(), changed, noisy.home.secret())
    said(noisy)
    (line,) = json.loads(run("review", "held-back", "--json").stdout)
    assert line["lot_name"] == "BM-02"
    assert "budget of noise is spent" in line["reasons"][0]


def test_withholding_works_on_the_noised_counts_and_costs_nothing_more(noisy: AHome) -> None:
    item = item_named(noisy, "BM-01")
    new = acts.withhold(noisy.home, item, ["c1"], by=WHO, at=NOW, key=noisy.steward)
    assert new.provenance == item.held.provenance
    _approve_all(noisy)
    _, reply = said(noisy)
    assert len(reply.reports) == 3
    assert encode(new.report) in [held.payload for held in noisy.held() if held.state is State.SENT]
    assert new.provenance is not None
    assert noisy.home.noise_book().spent(new.provenance.lot_sha256) == Decimal("1.5")


def test_a_first_policy_of_the_strict_profile_asks_for_noise(a_home: AHome, run: Callable[..., Result]) -> None:
    path = a_home.home.folder / "policy.toml"
    for profile, options, expected in (
        ("strict", (), {"epsilon_per_release": 1.0, "epsilon_budget": 4.0}),
        ("standard", (), None),
        ("standard", ("--noise", "0.5", "3"), {"epsilon_per_release": 0.5, "epsilon_budget": 3.0}),
    ):
        path.unlink()
        assert run("policy", "create", "--study", "vegf-2026", "--profile", profile, *options).exit_code == 0
        assert json.loads(run("policy", "show", "--json").stdout)["noise"] == expected
    path.unlink()
    assert "--noise" in run("policy", "create", "--study", "vegf-2026", "--noise", "2", "1").stderr
    assert not path.exists()

"""Every act of a steward is signed, in the ledger, and found out where someone else wrote it."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from protocol.codec import decode, encode
from protocol.errors import ErrorCode
from protocol.ledger import LedgerEvent
from protocol.policy import EffectiveRules
from protocol.pseudonyms import NameKind, pseudonym
from protocol.steward import Meaning
from site_agent.release import airlock_events
from site_agent.release.decisions import EVENT_LIMIT, AirlockEvent, State
from site_agent.release.offers import NotOffered, Offer
from site_agent.review import acts
from tests.site_agent.review.conftest import WHO, AHome, item_named, said
from tests.study_parts import NOW, STUDY, Lots


def _every_decision(waiting: AHome) -> None:
    key, at = waiting.steward, NOW
    acts.refuse(waiting.home, item_named(waiting, "BM-02"), by=WHO, at=at, key=key, reason="under investigation")
    acts.offer_again(waiting.home, item_named(waiting, "BM-02"), by=WHO, at=at, key=key, reason="it is over")
    acts.withhold(waiting.home, item_named(waiting, "BM-01"), ["c2"], by=WHO, at=at, key=key)
    acts.approve(waiting.home, item_named(waiting, "BM-03"), by=WHO, at=at, key=key)


def test_every_decision_of_a_steward_is_signed_and_stands_in_the_ledger(
    waiting: AHome, run: Callable[..., Result]
) -> None:
    _every_decision(waiting)
    decided = waiting.home.airlock().persons_decisions()
    assert [event.meaning for event in decided] == [
        Meaning.REFUSED_FOR_RELEASE,
        Meaning.TO_BE_OFFERED_AGAIN,
        Meaning.CLUSTERS_WITHHELD,
        Meaning.APPROVED_FOR_RELEASE,
    ]
    told = [entry.record.event for entry in waiting.home.ledger().verify()]
    for event in (LedgerEvent.REFUSED, LedgerEvent.OFFERED_AGAIN, LedgerEvent.WITHHELD, LedgerEvent.APPROVED):
        assert told.count(event) == 1
    assert json.loads(run("log", "verify", "--json").stdout)["decisions"] == 4


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("change", ["another name", "no signature", "another key"])
def test_a_decision_that_the_steward_did_not_sign_as_it_stands_is_found(
    waiting: AHome, run: Callable[..., Result], number: int, change: str
) -> None:
    _every_decision(waiting)
    decided = waiting.home.airlock().persons_decisions()[number]
    for path in sorted((waiting.home.folder / "airlock").glob("*.json")):
        event = decode(AirlockEvent, path.read_bytes(), limit=EVENT_LIMIT)
        if event == decided:
            match change:
                case "another name":
                    forged = event.model_copy(update={"by": "B. Steward"})
                case "no signature":
                    forged = event.model_copy(update={"decision": None})
                case _:
                    forged = airlock_events.signed(event, waiting.home.site, waiting.home.site_key())
            path.write_bytes(encode(forged))
    failed = run("log", "verify", "--json")
    assert failed.exit_code == 1
    assert f"decision {number} in the airlock" in json.loads(failed.stdout)["error"]["message"]


def test_a_refused_lot_is_not_offered_again_by_the_machines_key(waiting: AHome) -> None:
    acts.refuse(waiting.home, item_named(waiting, "BM-02"), by=WHO, at=NOW, key=waiting.steward, reason="no")
    refused = item_named(waiting, "BM-02").held.payload_sha256
    machine = waiting.home.site_key()
    waiting.home.airlock().offer_again(refused, by=WHO, at=NOW, key=machine, reason="who would know")
    said(waiting)
    assert item_named(waiting, "BM-02").held.state is State.REFUSED


def test_a_lot_beyond_the_studys_limits_of_quality_is_told_with_its_reason(
    a_home: AHome, run: Callable[..., Result]
) -> None:
    lots = Lots({"BM-02": (500, 400, 100)})
    poor = pseudonym(a_home.home.secret(), study=STUDY, kind=NameKind.LOT, name="BM-01")

    def with_a_poor_lot(rules: EffectiveRules) -> list[Offer | NotOffered]:
        return [*lots(rules), NotOffered(lot=poor, reasons=("41% of the atlas's genes.", "30 cells."))]

    a_home.source = with_a_poor_lot
    said(a_home)
    (line,) = json.loads(run("review", "held-back", "--json").stdout)
    assert (line["lot_name"], line["by"]) == ("BM-01", "quality limits of the study")
    assert "not in the airlock: BM-01" in run("review").stdout
    assert "41% of the atlas's genes. 30 cells." in " ".join(run("review", "held-back").stdout.split())
    # Where no lot is left, the study hears that there is none, and the steward still sees why.
    a_home.source = lambda _rules: [NotOffered(lot=poor, reasons=("30 cells",))]
    assert said(a_home)[0].code is ErrorCode.NO_LOTS
    assert "30 cells" in run("review", "held-back").stdout

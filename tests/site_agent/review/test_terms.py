"""The terms of a study: nothing is computed before they are accepted."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import Result

from protocol.codec import sha256
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode
from protocol.exchange import Ask
from protocol.ledger import LedgerEvent
from protocol.queries import AnswerStatus
from shared.errors import RefusedError
from site_agent.review import acts
from tests.site_agent.review.conftest import PLAN, WHO, AHome, said
from tests.study_parts import COORDINATOR, NOW, STUDY, THREE_LOTS, Lots, make_query, signed

TERMS = b"Findings are used for research only.\n"


def test_nothing_is_computed_before_the_terms_are_accepted(a_home: AHome, run: Callable[..., Result]) -> None:
    source = Lots(THREE_LOTS)
    a_home.source = source
    plan = PLAN.model_copy(update={"terms_sha256": sha256(TERMS)})

    def ask() -> Ask:
        return Ask(
            query=signed(make_query(plan), PayloadType.QUERY, COORDINATOR), plan=signed(plan, PayloadType.STUDY_PLAN)
        )

    answer, _ = said(a_home, replace(ask(), terms=b"other terms"))
    assert (answer.status, answer.code) == (AnswerStatus.WAITING, ErrorCode.TERMS_NOT_ACCEPTED)
    assert run("terms", "show", STUDY).exit_code == 1  # what the plan does not name is not kept
    assert said(a_home, replace(ask(), terms=TERMS))[0].code is ErrorCode.TERMS_NOT_ACCEPTED
    shown = run("terms", "show", STUDY)
    assert (TERMS.decode() in shown.stdout, "the plan names it" in shown.stderr) == (True, True)
    assert source.calls == 0
    with pytest.raises(RefusedError, match="expected the terms"):
        acts.accept_terms(a_home.home, STUDY, TERMS + b" ", by=WHO, at=NOW, key=a_home.steward)
    assert run("terms", "accept", STUDY, signs=True).exit_code == 0
    assert said(a_home, ask())[0].code is ErrorCode.AWAITING_STEWARD
    assert source.calls == 1
    events = [entry.record.event for entry in a_home.home.ledger().verify()]
    assert LedgerEvent.TERMS_ACCEPTED in events
    # Another plan under the same name has not been accepted.
    plan = plan.model_copy(update={"question": "Another question?"})
    assert said(a_home, ask())[0].code is ErrorCode.TERMS_NOT_ACCEPTED

"""A study's terms travel with the question, over Flower's wire encoding, to a site that computes nothing before."""

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from coordinator.collection import CollectionEvent, SiteState, site_states
from coordinator.home import init_home
from coordinator.network.flower_app import CollectionRun, make_server_app
from coordinator.network.registry import publish, published
from coordinator.store import MemoryStore
from protocol.codec import sha256
from protocol.errors import ErrorCode
from protocol.identifiers import instant
from protocol.steward import TermsAcceptance, seal_acceptance
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from shared.errors import InputError
from simulations.grid import InProcessGrid
from site_agent.network.flower_app import make_client_app
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    NOW,
    STEWARD,
    STRANGER,
    THREE_LOTS,
    Lots,
    Site,
    believed,
    fresh_nonce,
    make_plan,
    make_roster,
)
from tests.study_with_cells import cell_study, make_study_plan

TERMS = "Findings are used for research only. 研究目的に限る。\n".encode()
PLAN = make_plan(sites=(KYOTO,)).model_copy(update={"terms_sha256": sha256(TERMS)})


def test_terms_travel_with_the_question_and_open_the_study_once_accepted() -> None:
    source = Lots(THREE_LOTS)
    site, store, study = Site(source), MemoryStore(), believed(PLAN)

    def ask() -> CollectionEvent:
        run = CollectionRun(
            study=study,
            roster=make_roster(PLAN),
            key=COORDINATOR,
            store=store,
            nodes={KYOTO: 1},
            clock=lambda: NOW,
            nonce=fresh_nonce,
            log=lambda _line: None,
            terms=TERMS,
        )
        app = make_client_app(site.agent, clock=lambda: NOW, log=site.log.append)
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        make_server_app(run)(InProcessGrid({1: app}), context)
        event = site_states([KYOTO], map(CollectionEvent.from_line, store.events(PLAN.study)))[KYOTO]
        assert event is not None
        return event

    assert ask().code is ErrorCode.TERMS_NOT_ACCEPTED
    assert source.calls == 0
    assert site.records.terms == {PLAN.study: TERMS}
    accepted = TermsAcceptance(
        study=PLAN.study,
        site=KYOTO,
        plan_sha256=study.payload_sha256,
        terms_sha256=sha256(TERMS),
        by="A. Steward",
        at=instant(NOW),
    )
    for key, state in ((STRANGER, SiteState.REFUSED), (STEWARD, SiteState.DELIVERED)):
        site.records.acceptances[PLAN.study] = seal_acceptance(accepted, key)
        store = MemoryStore()
        assert ask().state is state
    assert source.calls == 1


def test_a_study_is_published_with_exactly_the_terms_that_its_plan_names(tmp_path: Path) -> None:
    home = init_home(tmp_path / "home", address="127.0.0.1:8443", listen="127.0.0.1:8443", now=NOW)
    plan = make_study_plan().model_copy(update={"terms_sha256": sha256(TERMS)})
    draft, atlas, terms = tmp_path / "study.toml", tmp_path / "reference.atlas", tmp_path / "terms.txt"
    draft.write_bytes(write_study_draft(plan))
    atlas.write_bytes(to_bytes(cell_study().atlas))
    terms.write_bytes(TERMS + b" ")
    with pytest.raises(InputError, match="its plan names terms"):
        publish(home, draft, atlas)
    with pytest.raises(InputError, match="expected the terms with SHA-256"):
        publish(home, draft, atlas, terms)
    terms.write_bytes(TERMS)
    assert publish(home, draft, atlas, terms).terms == TERMS
    assert published(home, plan.study).terms == TERMS

"""The signed specification: it follows from the reports, is versioned, and any change to it is found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.cli import main
from coordinator.evidence.bundle import SPECIFICATION_FILE, StudyEvidence, read_evidence, write_bundle
from coordinator.evidence.verification import verify_bundle
from coordinator.modules.specification_signing import (
    check_specification,
    open_specification,
    question_of,
    released_specification,
    seal_specification,
    specification_of,
    with_envelope,
)
from coordinator.report.edition import Edition
from coordinator.written import report_html, results_json
from protocol.atlas_manifest import AtlasManifest
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import DecodeError, SignatureError
from protocol.exchange import Reply
from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.names import ModuleName
from protocol.modules.signed_specification import Specification
from protocol.modules.specification import SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, write_policy
from protocol.roster import Believed, open_results
from shared.errors import DesignError, InputError, RefusedError
from shared.runtime.files import write_atomically
from site_agent.release.offers import Offer
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    NOW,
    STRANGER,
    Lots,
    Site,
    believed,
    make_ask,
    make_plan,
    make_policy,
    make_report,
    make_roster,
    signed,
)

KEY = COORDINATOR.verifying_key
ASKED = SpecificationPlan(endpoint=EndpointId("vegf"), limit=600.0)
PLAN = make_plan()
ASKING = PLAN.model_copy(update={"modules": Modules(specification=ASKED)})


class Growing(Lots):
    """Lots whose potency grows with the share of their first cluster."""

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer]:
        return [
            Offer(report=make_report(rules, lot, counts, potency=round(300 + counts[0] * 1.1, 1)))
            for lot, counts in self.counts.items()
        ]


def _counts(number: int) -> tuple[int, int, int]:
    first = 120 + 35 * number
    return first, 800 - first + 13 * (number % 3), 100 - 13 * (number % 3)


COUNTS = {
    KYOTO: {f"BM-{n}": _counts(n) for n in range(0, 12, 2)},
    LEIDEN: {f"MSC-{n}": _counts(n) for n in range(1, 12, 2)},
}


@dataclass(frozen=True)
class Study:
    """A finished study, asked for a specification or not."""

    plan: Believed[StudyPlan]
    outcome: Outcome
    evidence: StudyEvidence

    @property
    def results(self) -> bytes:
        return self.evidence.results


def _finished(plan: StudyPlan) -> Study:
    study, roster = believed(plan), make_roster(plan)
    reports: dict[str, bytes] = {}
    for name, counts in COUNTS.items():
        policy = make_policy(name).model_copy(update={"allowed_modules": (ModuleName.SPECIFICATION,)})
        reply = Site(Growing(counts), write_policy(policy), name).agent.answer(make_ask(plan, name), NOW)
        assert isinstance(reply, Reply)
        reports |= {f"{name}-{number}.json": envelope for number, envelope in enumerate(reply.reports)}
    outcome = analyse_reports(study, verified_reports(study, roster, reports.items()))
    atlas = AtlasManifest(
        name=plan.atlas.name,
        sha256=plan.atlas.sha256,
        size_bytes=1,
        modality="rna",
        clusters=plan.atlas.clusters,
        n_genes=2_000,
        crosslot="0.1.0",
    )
    evidence = StudyEvidence(
        plan=study.envelope,
        roster=signed(roster, PayloadType.ROSTER),
        atlas_manifest=signed(atlas, PayloadType.ATLAS_MANIFEST),
        reports=reports,
        results=results_json(outcome.results),
        report=report_html(outcome, Edition.coordinator()),
        events=b"{}\n",
    )
    return Study(plan=study, outcome=outcome, evidence=evidence)


@pytest.fixture(scope="module")
def asked() -> Study:
    return _finished(ASKING)


@pytest.fixture(scope="module")
def not_asked() -> Study:
    return _finished(PLAN)


def _made(study: Study, **options: float) -> Specification:
    question = question_of(study.plan.message, **options)  # type: ignore[arg-type]  # limit alone is given here
    return specification_of(study.plan, study.outcome, study.results, question, issued=NOW)


def test_a_signed_specification_follows_from_the_reports(asked: Study) -> None:
    made = _made(asked)
    assert made.basis == asked.outcome.results.specification
    assert made.basis.outcome is SpecificationOutcome.INDICATIVE  # twelve lots
    assert (made.version, made.supersedes) == (1, None)
    envelope = seal_specification(made, COORDINATOR)
    assert check_specification(envelope, KEY, asked.plan, asked.outcome, asked.results) == made


def test_a_limit_given_later_is_said_to_be_not_declared(not_asked: Study) -> None:
    made = _made(not_asked, limit=600.0)
    assert not made.basis.declared
    envelope = seal_specification(made, COORDINATOR)
    assert check_specification(envelope, KEY, not_asked.plan, not_asked.outcome, not_asked.results) == made


def test_the_plans_own_words_stay_declared_and_others_do_not(asked: Study) -> None:
    assert question_of(ASKING).declared
    assert question_of(ASKING, limit=600.0).declared
    assert not question_of(ASKING, limit=601.0).declared
    assert not question_of(ASKING, cluster="c1").declared
    assert _made(asked, limit=601.0).basis.limit == 601.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "expected the plan to ask for a specification, or --limit"),
        ({"limit": 600.0, "endpoint": "il-6"}, "expected an endpoint of the plan"),
        ({"limit": 600.0, "cluster": "c9"}, "expected a cluster of the atlas"),
    ],
)
def test_what_cannot_be_asked_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        question_of(PLAN, **options)  # type: ignore[arg-type]  # each case has its own


def test_none_is_signed_where_none_exists(asked: Study) -> None:
    with pytest.raises(DesignError, match="No specification exists") as caught:
        _made(asked, limit=1e6)
    assert caught.value.code == "no-specification"


def test_a_version_is_new_only_where_the_answer_is(asked: Study) -> None:
    first = open_specification(seal_specification(_made(asked), COORDINATOR), KEY)
    same = specification_of(asked.plan, asked.outcome, asked.results, question_of(ASKING), issued=NOW, previous=first)
    assert same == first.message
    second = specification_of(
        asked.plan, asked.outcome, asked.results, question_of(ASKING, limit=650.0), issued=NOW, previous=first
    )
    assert (second.version, second.supersedes) == (2, first.payload_sha256)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plan_sha256": "b" * 64}, "another plan"),
        ({"results_sha256": "b" * 64}, "other results"),
        ({"study": "other-2026"}, "another study"),
    ],
)
def test_what_names_another_study_is_refused(asked: Study, change: dict[str, str], words: str) -> None:
    forged = seal_specification(_made(asked).model_copy(update=change), COORDINATOR)
    with pytest.raises(RefusedError, match=words):
        check_specification(forged, KEY, asked.plan, asked.outcome, asked.results)


@pytest.mark.parametrize("field", ["threshold", "passing", "unassigned_limit"])
def test_numbers_that_the_reports_do_not_give_are_refused(asked: Study, field: str) -> None:
    made = _made(asked)
    basis = made.basis.model_copy(update={field: 0.123})
    forged = seal_specification(made.model_copy(update={"basis": basis}), COORDINATOR)
    with pytest.raises(RefusedError, match="other numbers"):
        check_specification(forged, KEY, asked.plan, asked.outcome, asked.results)


def test_a_strangers_signature_and_a_flipped_byte_are_refused(asked: Study) -> None:
    made = _made(asked)
    with pytest.raises(SignatureError):
        open_specification(seal_specification(made, STRANGER), KEY)
    envelope = bytearray(seal_specification(made, COORDINATOR))
    envelope[60] ^= 1
    with pytest.raises((SignatureError, DecodeError)):
        open_specification(bytes(envelope), KEY)


def test_a_specification_without_a_threshold_is_no_message(asked: Study) -> None:
    made = _made(asked)
    document = made.model_dump(mode="python", by_alias=True)
    for change in ({"threshold": None}, {"cluster": "c9"}, {"line": None}, {"envelope": "{}"}):
        with pytest.raises(ValueError, match="basis"):
            Specification.model_validate({**document, "basis": {**document["basis"], **change}})
    with pytest.raises(ValueError, match="supersedes"):
        Specification.model_validate({**document, "version": 2})


def test_the_bundle_holds_the_specification_and_finds_a_false_one(asked: Study, tmp_path: Path) -> None:
    made = _made(asked)
    sound = replace(asked.evidence, specification=seal_specification(made, COORDINATOR))
    write_bundle(sound, tmp_path / "sound", key=COORDINATOR, at=NOW)
    verified = verify_bundle(tmp_path / "sound", coordinator=KEY)
    assert SPECIFICATION_FILE in {file.path for file in verified.manifest.files}
    basis = made.basis.model_copy(update={"threshold": 0.001})
    false = replace(sound, specification=seal_specification(made.model_copy(update={"basis": basis}), COORDINATOR))
    write_bundle(false, tmp_path / "false", key=COORDINATOR, at=NOW)  # a coordinator that signs what does not follow
    with pytest.raises(RefusedError, match="other numbers"):
        verify_bundle(tmp_path / "false", coordinator=KEY)


def test_released_results_carry_the_signed_specification(asked: Study, tmp_path: Path) -> None:
    path = tmp_path / SPECIFICATION_FILE
    released = released_specification(path, asked.plan, asked.outcome, COORDINATOR, now=NOW)
    assert released is not None
    assert path.read_bytes() == released[0]
    assert released_specification(path, asked.plan, asked.outcome, COORDINATOR, now=NOW) == released
    sealed = seal(encode(with_envelope(asked.outcome.results, *released)), PayloadType.RESULTS, COORDINATOR)
    carried = open_results(sealed, KEY).message.specification
    assert carried is not None
    assert carried.envelope is not None
    assert open_specification(carried.envelope.encode(), KEY).message == released[1]


def test_a_specification_of_other_results_is_not_released(asked: Study, tmp_path: Path) -> None:
    stale = _made(asked).model_copy(update={"results_sha256": "b" * 64})
    path = tmp_path / SPECIFICATION_FILE
    write_atomically(path, seal_specification(stale, COORDINATOR))
    with pytest.raises(RefusedError, match="other results") as caught:
        released_specification(path, asked.plan, asked.outcome, COORDINATOR, now=NOW)
    assert caught.value.hint is not None


def test_nothing_is_released_where_nothing_was_asked(not_asked: Study, tmp_path: Path) -> None:
    path = tmp_path / SPECIFICATION_FILE
    assert released_specification(path, not_asked.plan, not_asked.outcome, COORDINATOR, now=NOW) is None
    assert not path.exists()


@pytest.fixture
def run_folder(asked: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    evidence = asked.evidence
    for name, data in (
        ("published/plan.json", evidence.plan),
        ("published/roster.json", evidence.roster),
        ("published/reference.atlas.json", evidence.atlas_manifest),
        ("results.json", evidence.results),
        ("report.html", evidence.report),
        ("coordinator/events.jsonl", evidence.events),
        *((f"coordinator/envelopes/{name}", data) for name, data in evidence.reports.items()),
    ):
        write_atomically(folder / name, data)
    COORDINATOR.save(folder / "key.pem")
    return folder


def _specify(folder: Path, *options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["specify", str(folder), "--key", str(folder / "key.pem"), *options])
    return done.exit_code, done.stdout, done.stderr


def test_specify_signs_where_the_bundle_takes_it(run_folder: Path, tmp_path: Path) -> None:
    code, out, _ = _specify(run_folder, "--json")
    said = json.loads(out)
    assert (code, said["success"], said["unchanged"]) == (0, True, False)
    assert said["specification"]["schema"] == "crosslot.specification/1"
    assert read_evidence(run_folder).specification == (run_folder / "published" / SPECIFICATION_FILE).read_bytes()
    bundle = tmp_path / "bundle"
    done = CliRunner().invoke(
        main, ["bundle", str(run_folder), "--key", str(run_folder / "key.pem"), "--out", str(bundle)]
    )
    assert done.exit_code == 0, done.output
    again = json.loads(_specify(run_folder, "--json")[1])
    assert again["unchanged"] is True
    code, out, _ = _specify(run_folder, "--limit", "650")
    assert code == 0
    assert "version 2" in out
    assert "chosen after the plan was signed" in out


def test_specify_says_in_plain_words_that_none_exists(run_folder: Path) -> None:
    code, out, err = _specify(run_folder, "--limit", "1000000", "--json")
    assert code == 1
    assert json.loads(out)["success"] is False
    assert "No specification exists" in err
    assert not (run_folder / "published" / SPECIFICATION_FILE).exists()


def test_specify_refuses_results_that_the_reports_do_not_give(run_folder: Path) -> None:
    results = json.loads((run_folder / "results.json").read_bytes())
    results["verdicts"][0]["sentence"] = "All is well."
    write_atomically(run_folder / "results.json", (json.dumps(results, indent=2) + "\n").encode())
    code, _, err = _specify(run_folder)
    assert code == 1
    assert "results of the study's reports" in err


def test_specify_shows_without_signing_by_a_public_key(run_folder: Path) -> None:
    public = run_folder / "key.pub"
    public.write_text(KEY.to_hex() + "\n")
    done = CliRunner().invoke(main, ["specify", str(run_folder), "--coordinator-key", str(public)])
    assert done.exit_code == 0, done.output
    assert "indicative only" in done.stdout
    assert "nothing was written" in done.stderr
    assert not (run_folder / "published" / SPECIFICATION_FILE).exists()


def test_specify_needs_a_key_or_a_home(run_folder: Path) -> None:
    assert CliRunner().invoke(main, ["specify", str(run_folder)]).exit_code == 2

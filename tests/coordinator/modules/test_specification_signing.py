"""The signed specification: it follows from the reports, is versioned, and any change to it is found."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.evidence.bundle import SPECIFICATION_FILE, read_evidence, write_bundle
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
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import DecodeError, SignatureError
from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.names import ModuleName
from protocol.modules.signed_specification import Specification
from protocol.modules.specification import SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.plan import StudyPlan
from protocol.roster import open_results
from shared.errors import DesignError, InputError, RefusedError
from shared.runtime.files import write_atomically
from tests.coordinator.finished_study import FinishedStudy, finished_study, write_study_folder
from tests.study_parts import COORDINATOR, KYOTO, LEIDEN, NOW, STRANGER, make_plan

KEY = COORDINATOR.verifying_key
ASKED = SpecificationPlan(endpoint=EndpointId("vegf"), limit=600.0)
PLAN = make_plan()
ASKING = PLAN.model_copy(update={"modules": Modules(specification=ASKED)})


def _counts(number: int) -> tuple[int, int, int]:
    first = 120 + 35 * number
    return first, 800 - first + 13 * (number % 3), 100 - 13 * (number % 3)


COUNTS = {
    KYOTO: {f"BM-{n}": _counts(n) for n in range(0, 12, 2)},
    LEIDEN: {f"MSC-{n}": _counts(n) for n in range(1, 12, 2)},
}


def _finished(plan: StudyPlan) -> FinishedStudy:
    def potency(first: int) -> float:
        return round(300 + first * 1.1, 1)

    return finished_study(plan, COUNTS, potency, modules=(ModuleName.SPECIFICATION,))


@pytest.fixture(scope="module")
def asked() -> FinishedStudy:
    return _finished(ASKING)


@pytest.fixture(scope="module")
def not_asked() -> FinishedStudy:
    return _finished(PLAN)


def _made(study: FinishedStudy, **options: float) -> Specification:
    question = question_of(study.plan.message, **options)  # type: ignore[arg-type]  # limit alone is given here
    return specification_of(study.plan, study.outcome, study.evidence.results, question, issued=NOW)


def test_a_signed_specification_follows_from_the_reports(asked: FinishedStudy) -> None:
    made = _made(asked)
    assert made.basis == asked.outcome.results.specification
    assert made.basis.outcome is SpecificationOutcome.INDICATIVE  # twelve lots
    assert (made.version, made.supersedes) == (1, None)
    envelope = seal_specification(made, COORDINATOR)
    assert check_specification(envelope, KEY, asked.plan, asked.outcome, asked.evidence.results) == made


def test_a_limit_given_later_is_said_to_be_not_declared(not_asked: FinishedStudy) -> None:
    made = _made(not_asked, limit=600.0)
    assert not made.basis.declared
    envelope = seal_specification(made, COORDINATOR)
    assert check_specification(envelope, KEY, not_asked.plan, not_asked.outcome, not_asked.evidence.results) == made


def test_the_plans_own_words_stay_declared_and_others_do_not(asked: FinishedStudy) -> None:
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


def test_none_is_signed_where_none_exists(asked: FinishedStudy) -> None:
    with pytest.raises(DesignError, match="No specification exists") as caught:
        _made(asked, limit=1e6)
    assert caught.value.code == "no-specification"


def test_a_version_is_new_only_where_the_answer_is(asked: FinishedStudy) -> None:
    first = open_specification(seal_specification(_made(asked), COORDINATOR), KEY)
    same = specification_of(
        asked.plan, asked.outcome, asked.evidence.results, question_of(ASKING), issued=NOW, previous=first
    )
    assert same == first.message
    second = specification_of(
        asked.plan, asked.outcome, asked.evidence.results, question_of(ASKING, limit=650.0), issued=NOW, previous=first
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
def test_what_names_another_study_is_refused(asked: FinishedStudy, change: dict[str, str], words: str) -> None:
    forged = seal_specification(_made(asked).model_copy(update=change), COORDINATOR)
    with pytest.raises(RefusedError, match=words):
        check_specification(forged, KEY, asked.plan, asked.outcome, asked.evidence.results)


@pytest.mark.parametrize("field", ["threshold", "passing", "unassigned_limit"])
def test_numbers_that_the_reports_do_not_give_are_refused(asked: FinishedStudy, field: str) -> None:
    made = _made(asked)
    basis = made.basis.model_copy(update={field: 0.123})
    forged = seal_specification(made.model_copy(update={"basis": basis}), COORDINATOR)
    with pytest.raises(RefusedError, match="other numbers"):
        check_specification(forged, KEY, asked.plan, asked.outcome, asked.evidence.results)


def test_a_strangers_signature_and_a_flipped_byte_are_refused(asked: FinishedStudy) -> None:
    made = _made(asked)
    with pytest.raises(SignatureError):
        open_specification(seal_specification(made, STRANGER), KEY)
    envelope = bytearray(seal_specification(made, COORDINATOR))
    envelope[60] ^= 1
    with pytest.raises((SignatureError, DecodeError)):
        open_specification(bytes(envelope), KEY)


def test_a_specification_without_a_threshold_is_no_message(asked: FinishedStudy) -> None:
    made = _made(asked)
    document = made.model_dump(mode="python", by_alias=True)
    for change in ({"threshold": None}, {"cluster": "c9"}, {"line": None}, {"envelope": "{}"}):
        with pytest.raises(ValueError, match="basis"):
            Specification.model_validate({**document, "basis": {**document["basis"], **change}})
    with pytest.raises(ValueError, match="supersedes"):
        Specification.model_validate({**document, "version": 2})


def test_the_bundle_holds_the_specification_and_finds_a_false_one(asked: FinishedStudy, tmp_path: Path) -> None:
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


def test_released_results_carry_the_signed_specification(asked: FinishedStudy, tmp_path: Path) -> None:
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


def test_a_specification_of_other_results_is_not_released(asked: FinishedStudy, tmp_path: Path) -> None:
    stale = _made(asked).model_copy(update={"results_sha256": "b" * 64})
    path = tmp_path / SPECIFICATION_FILE
    write_atomically(path, seal_specification(stale, COORDINATOR))
    with pytest.raises(RefusedError, match="other results") as caught:
        released_specification(path, asked.plan, asked.outcome, COORDINATOR, now=NOW)
    assert caught.value.hint is not None


def test_nothing_is_released_where_nothing_was_asked(not_asked: FinishedStudy, tmp_path: Path) -> None:
    path = tmp_path / SPECIFICATION_FILE
    assert released_specification(path, not_asked.plan, not_asked.outcome, COORDINATOR, now=NOW) is None
    assert not path.exists()


@pytest.fixture
def run_folder(asked: FinishedStudy, tmp_path: Path) -> Path:
    folder = write_study_folder(asked.evidence, tmp_path / "run")
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

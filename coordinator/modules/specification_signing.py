"""From a study's evidence to a signed specification, and back: what was signed follows from the reports, or is refused.

Rules: the numbers come from the verified reports, by the plan's own analysis; the results that it names are the very
bytes that the study keeps. The same question of the same study is signed once: a new version needs another answer.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.modules.specification import specify
from coordinator.modules.specification_question import Question, asked_by
from coordinator.written import results_json
from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, envelope_limit, seal
from protocol.identifiers import instant
from protocol.modules.signed_specification import Specification
from protocol.modules.specification import MarkerPlace, SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome, SpecificationResults
from protocol.plan import StudyPlan
from protocol.results import ResultSet
from protocol.roster import Believed, Roster, open_from_coordinator
from protocol.signing import SigningKey, VerifyingKey
from shared.errors import DesignError, InputError, RefusedError
from shared.runtime.files import read_bounded, write_atomically

SPECIFICATION_LIMIT = envelope_limit(PayloadType.SPECIFICATION)


def question_of(
    plan: StudyPlan,
    *,
    endpoint: str | None = None,
    limit: float | None = None,
    cluster: str | None = None,
    marker: MarkerPlace | None = None,
    confidence: float | None = None,
) -> Question:
    """Return what a specification is asked for: the plan's own question, unless something else is given.

    Raises
    ------
    InputError
        If the plan asks for no specification and no limit is given, both cluster and marker are given, or the plan has
        no such endpoint, cluster or marker predictor.
    """
    if cluster is not None and marker is not None:
        raise InputError("expected --cluster or --marker, found both", hint="a specification is about one share")
    declared = asked_by(plan.modules, plan.endpoints, plan.cohorts, plan.analysis)
    given = {"endpoint": endpoint, "limit": limit, "cluster": cluster, "marker": marker, "confidence": confidence}
    changed = {name: value for name, value in given.items() if value is not None}
    if declared is not None and all(getattr(declared.asked, name) == value for name, value in changed.items()):
        return declared
    base = {} if declared is None else dict(declared.asked)
    if cluster is not None or marker is not None:  # another share than the plan's
        base |= {"cluster": None, "marker": None}
    if "endpoint" not in base and endpoint is None and len(plan.endpoints) == 1:
        base["endpoint"] = plan.endpoints[0].endpoint
    lacking = [name for name in ("endpoint", "limit") if name not in base | changed]
    if lacking:
        raise InputError(
            f"study {plan.study}: expected the plan to ask for a specification, or --{' and --'.join(lacking)}; found "
            "neither",
            hint="give the limit of potency that a released lot must reach",
        )
    named = str((base | changed)["endpoint"])
    of_plan = next((each for each in plan.endpoints if each.endpoint == named), None)
    if of_plan is None:
        known = ", ".join(each.endpoint for each in plan.endpoints)
        raise InputError(f"--endpoint: expected an endpoint of the plan ({known}), found {named}")
    if cluster is not None and cluster not in plan.atlas.clusters:
        known = ", ".join(plan.atlas.clusters)
        raise InputError(f"--cluster: expected a cluster of the atlas ({known}), found {cluster}")
    asked = SpecificationPlan.model_validate(base | changed)
    predictors = () if plan.modules.markers is None else plan.modules.markers.predictors
    if misfit := asked.misfit(plan.atlas.clusters, predictors):
        raise InputError(misfit, hint="only a share that the signed plan counts can be asked about")
    return Question(
        asked=asked,
        declared=False,
        endpoint=of_plan,
        cohorts=plan.cohorts,
        analysis=plan.analysis,
        markers=plan.modules.markers,
    )


def marker_place(plan: StudyPlan, text: str) -> MarkerPlace:
    """Return which of a plan's marker predictors ``text`` names: GENE where it has one, or GENE@CLUSTER.

    Raises
    ------
    InputError
        If it names none, or a gene with several.
    """
    predictors = () if plan.modules.markers is None else plan.modules.markers.predictors
    places = [MarkerPlace(gene=each.gene, cluster=each.cluster) for each in predictors]
    named = [each for each in places if text in {each.gene, f"{each.gene}@{each.cluster}"}]
    if len(named) != 1:
        known = ", ".join(f"{each.gene}@{each.cluster}" if each.cluster else each.gene for each in places) or "none"
        raise InputError(
            f"--marker: expected one marker predictor of the plan ({known}), found {text}",
            hint="give GENE, or GENE@CLUSTER where the gene has several",
        )
    return named[0]


def study_outcome(
    plan: Believed[StudyPlan], roster: bytes, reports: Iterable[tuple[str, bytes]], key: VerifyingKey
) -> Outcome:
    """Return the outcome of a study's sealed reports, each verified anew."""
    parties = open_from_coordinator(roster, Roster, PayloadType.ROSTER, key).message
    return analyse_reports(plan, verified_reports(plan, parties, reports))


def specification_of(
    plan: Believed[StudyPlan],
    outcome: Outcome,
    results: bytes,
    question: Question,
    *,
    issued: datetime,
    previous: Believed[Specification] | None = None,
) -> Specification:
    """Return the specification that a study bears out.

    Parameters
    ----------
    plan, outcome : Believed of StudyPlan, Outcome
        The study.
    results : bytes
        ``results.json`` as the study keeps it.
    question : Question
        See `question_of`.
    issued : datetime
        The time that it names.
    previous : Believed of Specification, optional
        The version before. Where it says the same of the same results, it is returned as it is.

    Raises
    ------
    DesignError
        ``no-specification``: none exists, and the message says why.
    RefusedError
        If ``results`` are not those of the reports, or ``previous`` is of another study.
    """
    check_results(results, outcome)
    basis = _basis(outcome, question)
    if basis.outcome is SpecificationOutcome.NONE:
        raise DesignError(
            "no-specification", basis.sentence.removesuffix("."), hint="gather more lots, or ask for a lower limit"
        )
    before = None if previous is None else previous.message
    if before is not None and before.study != plan.message.study:
        raise RefusedError(f"expected the specification of {plan.message.study} before, found that of {before.study}")
    message = plan.message
    made = Specification(
        version=1 if before is None else before.version + 1,
        supersedes=None if previous is None else previous.payload_sha256,
        issued=instant(issued),
        study=message.study,
        title=message.title,
        plan_sha256=plan.payload_sha256,
        results_sha256=sha256(results),
        atlas=message.atlas,
        assay=question.endpoint.assay,
        unit=question.endpoint.unit,
        scale=next(card.scale for card in outcome.results.endpoints if card.endpoint == question.endpoint.endpoint),
        quality=message.quality,
        basis=basis,
    )
    if before is not None and _same(before, made):
        return before
    return made


def seal_specification(specification: Specification, key: SigningKey) -> bytes:
    """Return the specification, signed by the coordinator."""
    return seal(encode(specification), PayloadType.SPECIFICATION, key)


def open_specification(envelope: bytes, key: VerifyingKey) -> Believed[Specification]:
    """Return a specification that the coordinator signed."""
    return open_from_coordinator(envelope, Specification, PayloadType.SPECIFICATION, key)


def check_specification(
    envelope: bytes, key: VerifyingKey, plan: Believed[StudyPlan], outcome: Outcome, results: bytes
) -> Specification:
    """Return a study's signed specification if it follows from the study's reports.

    Raises
    ------
    ProtocolError
        If the coordinator did not sign it.
    RefusedError
        If it names another plan, atlas or results, or its numbers are not those of the reports.
    """
    said = open_specification(envelope, key).message
    message = plan.message
    for holds, what in (
        (said.plan_sha256 == plan.payload_sha256, "names another plan"),
        (said.study == message.study, "is of another study"),
        (said.atlas == message.atlas, "names another atlas"),
        (said.results_sha256 == sha256(results), "names other results"),
        (said.quality == message.quality, "names other limits of quality"),
        (said.basis == _basis(outcome, _asked(said, message)), "says other numbers than the reports give"),
    ):
        if not holds:
            raise RefusedError(f"the specification {what}")
    return said


def released_specification(
    path: Path, plan: Believed[StudyPlan], outcome: Outcome, key: SigningKey, *, now: datetime
) -> tuple[bytes, Specification] | None:
    """Return the specification that goes to the sites with the results: the one at ``path``, or the plan's own.

    Where none was signed and the plan asks for one that exists, it is signed now and kept at ``path``.

    Raises
    ------
    RefusedError
        If the one at ``path`` does not follow from what was collected.
    """
    results = results_json(outcome.results)
    if path.exists():
        envelope = read_bounded(path, limit=SPECIFICATION_LIMIT, what="the signed specification")
        try:
            return envelope, check_specification(envelope, key.verifying_key, plan, outcome, results)
        except RefusedError as error:
            raise RefusedError(f"{path}: {error}", hint="run `specify` again, then release") from error
    found = outcome.results.specification
    if found is None or found.outcome is SpecificationOutcome.NONE:
        return None
    made = specification_of(plan, outcome, results, question_of(plan.message), issued=now)
    envelope = seal_specification(made, key)
    write_atomically(path, envelope)
    return envelope, made


def check_results(written: bytes, outcome: Outcome) -> None:
    """Return if ``written`` are an outcome's results; parity, a statement about a simulated run, stands as written.

    Raises
    ------
    RefusedError
        Otherwise.
    """
    try:
        said = ResultSet.model_validate_json(written)
    except ValueError as error:
        raise RefusedError(f"results.json: expected results: {error}") from None
    if results_json(outcome.results.model_copy(update={"parity": said.parity})) != written:
        raise RefusedError(
            "results.json: expected the results of the study's reports, found others", hint="analyse the study again"
        )


def with_envelope(results: ResultSet, envelope: bytes, specification: Specification) -> ResultSet:
    """Return results that carry the signed specification to the sites."""
    carried = specification.basis.model_copy(update={"envelope": envelope.decode("utf-8")})
    return results.model_copy(update={"specification": carried})


def _basis(outcome: Outcome, question: Question) -> SpecificationResults:
    if question.declared and outcome.results.specification is not None:
        return outcome.results.specification
    markers = outcome.results.markers
    return specify(outcome.data, question, outcome.results.associations, () if markers is None else markers.predictors)


def _asked(said: Specification, plan: StudyPlan) -> Question:
    basis = said.basis
    if basis.declared:
        return question_of(plan)
    own = question_of(
        plan,
        endpoint=basis.endpoint,
        limit=basis.limit,
        cluster=basis.cluster,
        marker=None if basis.marker is None else MarkerPlace(gene=basis.marker.gene, cluster=basis.marker.cluster),
        confidence=basis.confidence,
    )
    if own.declared:
        raise RefusedError("the specification says that it was not declared, and the plan declares it")
    return own


def _same(one: Specification, other: Specification) -> bool:
    ignored = {"version", "supersedes", "issued"}
    texts = [json.dumps(each.model_dump(mode="json", exclude=ignored), sort_keys=True) for each in (one, other)]
    return texts[0] == texts[1]

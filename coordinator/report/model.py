"""The report as data: what an edition holds, in the order in which it is read.

Rules
-----
1. What an edition may hold is decided here and in ``edition``; figures and page draw all that they are given.
2. Every sentence is made and every number rounded here; rendering adds no fact.
3. The same results, data and edition give an equal model: nothing depends on a clock, a path or an order of arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.report import sentences, texts
from coordinator.report.association_sections import forest, ranges, sensitivity_findings, sensitivity_table
from coordinator.report.composition_section import composition
from coordinator.report.contents import EndpointSection, Fact, ReportModel, RobustnessSection
from coordinator.report.downloads import downloads, edition_results, fits_into_page
from coordinator.report.edition import Edition, EditionKind, names_one_of
from coordinator.report.lot_sections import lead_rows, lead_scatter, panels
from coordinator.report.lots import LotView, view_lots
from coordinator.report.modules import CHARACTERISATION, DECISIONS, module_sections
from coordinator.report.quality_section import excluded, quality
from coordinator.report.validation_section import validation_section
from coordinator.report.verdicts import alpha_text, associations_of, endpoint_card, verdict_block
from coordinator.study_data import StudyData
from protocol.results import ResultSet
from shared.errors import InputError
from shared.pages.numbering import Numbering
from shared.pages.rounding import percent_text


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What is known about a study beside its results and lots.

    Attributes
    ----------
    validation_cohorts : tuple of str
        Cohorts that took no part in discovery; those that the results name as validated count as such in any case. The
        name that plain tables use is the default.
    results_sha256 : str or None
        The hash of the exact bytes of the results, where they were written.
    """

    validation_cohorts: tuple[str, ...] = ("validation",)
    results_sha256: str | None = None


def build_report(results: ResultSet, data: StudyData, *, edition: Edition, bundle: Bundle | None = None) -> ReportModel:
    """Return the report of a study for one edition.

    Parameters
    ----------
    results : ResultSet
        All results.
    data : StudyData
        All lots; those that the edition may not hold are left out here.
    edition : Edition
        Who reads.
    bundle : Bundle, optional
        What is known beside.

    Raises
    ------
    InputError
        If the results and the lots are not of the same study: a cluster or an endpoint that the lots lack; or if there
        are validation lots and it is not known which.
    """
    _check_same_study(results, data)
    known = Bundle() if bundle is None else bundle
    view = view_lots(
        data,
        results.lots,
        results.endpoints,
        edition=edition,
        validation_cohorts={*known.validation_cohorts, *(row.cohort for row in results.validation)},
    )
    if results.lots.n_validation and not view.validation:
        raise InputError(
            f"report: expected {results.lots.n_validation} lots of validation cohorts, found none",
            hint="name the plan's validation cohorts in Bundle(validation_cohorts=...)",
        )
    numbering = Numbering()
    verdicts = tuple(
        verdict_block(results, verdict, hidden_names=view.hidden_names, numbering=numbering)
        for verdict in results.verdicts
    )
    excluded_finding, excluded_table = excluded(results.lots, view, numbering)
    endpoints = tuple(_endpoint_section(view, results, card.endpoint, numbering) for card in results.endpoints)
    characterisation = module_sections(CHARACTERISATION, view, results, numbering)
    first = results.endpoints[0]
    leads = tuple(data.clusters.index(row.cluster) for row in lead_rows(associations_of(results, first.endpoint)))
    own = edition_results(results, view)
    return ReportModel(
        edition_name=texts.EDITION_NAMES[edition.kind.value].format(site=edition.site),
        edition_sentence=texts.EDITION_SENTENCES[edition.kind.value],
        study=results.study.study,
        title=results.study.title,
        question=results.study.question,
        verdicts=verdicts,
        card=_card(results, view),
        sites=view.sites,
        excluded_finding=excluded_finding,
        excluded=excluded_table,
        endpoints=endpoints,
        characterisation=characterisation,
        composition=composition(view, first, leads, numbering),
        quality=quality(view),
        robustness=tuple(_robustness_section(view, results, card.endpoint, numbering) for card in results.endpoints),
        decisions=module_sections(DECISIONS, view, results, numbering),
        methods=sentences.methods(
            strata=results.study.strata,
            alternative=results.study.alternative,
            draws=f"{results.study.draws:,}",
            multiplicity=results.study.multiplicity,
            confidence=percent_text(results.study.confidence),
            seed=results.study.seed,
        ),
        deviations=_deviations(results.warnings, view),
        downloads=downloads(own, view),
        downloads_note="" if fits_into_page(view) else texts.DOWNLOADS_WITHOUT_LOTS,
        provenance=_provenance(results, view, known),
    )


def _check_same_study(results: ResultSet, data: StudyData) -> None:
    hint = "give the report the lots and the results of one and the same analysis"
    unknown = sorted({row.cluster for row in results.associations} - set(data.clusters))
    if unknown:
        raise InputError(f"report: expected results on the clusters of the lots, found {', '.join(unknown)}", hint=hint)
    lacking = [card.endpoint for card in results.endpoints if card.endpoint not in data.potency]
    if lacking or not results.endpoints:
        found = ", ".join(lacking) if lacking else "no endpoint at all"
        raise InputError(f"report: expected the results' endpoints among the lots' potencies, found {found}", hint=hint)


def _endpoint_section(view: LotView, results: ResultSet, endpoint: str, numbering: Numbering) -> EndpointSection:
    card = endpoint_card(results, endpoint)
    rows = associations_of(results, endpoint)
    scatters = (lead_scatter(view, results, card, row, numbering) for row in lead_rows(rows, len(view.shown)))
    return EndpointSection(
        identifier=card.endpoint,
        name=card.assay,
        forest=forest(results, card, rows, view.data.clusters, numbering) if rows else None,
        leads=tuple(scatter for scatter in scatters if scatter is not None),
        panels=panels(view, card, rows, results.study.alpha),
    )


def _robustness_section(view: LotView, results: ResultSet, endpoint: str, numbering: Numbering) -> RobustnessSection:
    card = endpoint_card(results, endpoint)
    rows = associations_of(results, endpoint)
    data = view.data
    suppressed = any(bool((data.counts_low[row] != data.counts_high[row]).any()) for row in view.used)
    return RobustnessSection(
        identifier=card.endpoint,
        name=card.assay,
        ranges=ranges(card, rows, data.clusters, numbering),
        sensitivity=sensitivity_table(card, rows, data.clusters) if rows else None,
        findings=sensitivity_findings(rows, suppressed=suppressed, numbering=numbering),
        validation=validation_section(view, results, card, numbering),
    )


def _card(results: ResultSet, view: LotView) -> tuple[Fact, ...]:
    study, lots = results.study, results.lots
    facts = [
        Fact(texts.FACT_STUDY, study.study, is_code=True),
        Fact(texts.FACT_LOTS, sentences.lots_of_sites(lots.n, lots.n_units, lots.sites)),
    ]
    if lots.n_validation:
        facts.append(Fact(texts.FACT_VALIDATION, f"{lots.n_validation:,}"))
    facts.append(Fact(texts.FACT_EXCLUDED, f"{len(lots.excluded):,}"))
    facts.append(Fact(texts.FACT_SITES, _sites_fact(view)))
    if view.edition.kind is not EditionKind.COORDINATOR:
        facts.append(Fact(texts.FACT_SHOWN, sentences.lots_shown(len(view.shown), len(view.used))))
    facts += [
        Fact(texts.FACT_POTENCY, sentences.potency_fact(card.assay, card.unit, card.scale))
        for card in results.endpoints
    ]
    test = sentences.test_fact(study.alternative, study.strata, alpha_text(study.alpha), study.multiplicity)
    plan = _short_hash(study.plan_sha256) or texts.NO_PLAN
    facts += [
        Fact(texts.FACT_TEST, test),
        Fact(texts.FACT_ATLAS, study.atlas_name or texts.NO_ATLAS),
        Fact(texts.FACT_PLAN_HASH, plan, is_code=study.plan_sha256 is not None),
    ]
    if study.atlas_sha256 is not None:
        facts.append(Fact(texts.FACT_ATLAS_HASH, _short_hash(study.atlas_sha256), is_code=True))
    return tuple(facts)


def _sites_fact(view: LotView) -> str:
    names = sorted({view.data.sites[row] for row in view.used})
    if not view.edition.names_sites:
        return texts.SITES_NOT_NAMED
    if view.edition.kind is not EditionKind.COORDINATOR:
        return ", ".join(names)  # who gave lots for what is not for other sites
    discovery = {view.data.sites[row] for row in view.discovery_used()}
    return ", ".join(name if name in discovery else sentences.validation_only(name) for name in names)


def _provenance(results: ResultSet, view: LotView, bundle: Bundle) -> tuple[Fact, ...]:
    study, parity = results.study, results.parity
    facts = [
        Fact(texts.FACT_PLAN_HASH, study.plan_sha256 or texts.NO_PLAN, is_code=study.plan_sha256 is not None),
        Fact(texts.FACT_ATLAS_HASH, study.atlas_sha256 or texts.NO_ATLAS, is_code=study.atlas_sha256 is not None),
    ]
    if bundle.results_sha256 is not None:
        facts.append(Fact(texts.FACT_RESULTS_HASH, bundle.results_sha256, is_code=True))
    facts += [
        Fact(texts.FACT_SOFTWARE, study.software, is_code=True),
        Fact(texts.FACT_SEED, str(study.seed), is_code=True),
        Fact(texts.FACT_EDITION, texts.EDITION_NAMES[view.edition.kind.value].format(site=view.edition.site)),
    ]
    if parity is not None:
        rho = "0" if parity.max_abs_rho_difference == 0 else f"{parity.max_abs_rho_difference:.1e}"
        difference = sentences.parity_fact(parity.max_abs_count_difference, rho, same=parity.same_ranking)
        facts.append(Fact(texts.FACT_PARITY, difference))
    return tuple(facts)


def _deviations(warnings: Sequence[str], view: LotView) -> tuple[str, ...]:
    told = [warning for warning in warnings if not names_one_of(warning, view.hidden_names)]
    withheld = len(warnings) - len(told)
    return (*told, *((sentences.withheld_remarks(withheld),) if withheld else ()))


def _short_hash(digest: str | None) -> str:
    return "" if digest is None else f"{digest[:12]}\N{HORIZONTAL ELLIPSIS}"

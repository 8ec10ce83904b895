"""The section on lot-level attributes: for each family and endpoint its table, and the lots behind its best attribute.

Rules: aggregates of all lots, single lots only where the edition shows them; a lot below the limit of detection is
drawn as the range that it is known by; what could not be tested says why.
"""

from itertools import groupby

from coordinator.report import captions
from coordinator.report.attribute_figure import lead_figure
from coordinator.report.lots import LotView
from protocol.modules.attributes_results import AttributeAssociation, AttributesResults, SharedDenominator
from protocol.results import EndpointCard, ResultSet
from shared.pages.contents import (
    Cell,
    CellState,
    Column,
    Finding,
    ModuleFigure,
    ModuleOutcome,
    ModuleSection,
    Row,
    Table,
)
from shared.pages.numbering import Numbering
from shared.pages.rounding import interval_text, p_equation, p_text, percent_text, rho_text

HEADING = "Attributes of the lot against potency"
_NOT_FOUND = ModuleOutcome(
    code="attributes-not-found",
    word="Not found",
    icon="○",
    headline="No attribute of the lot is shown to follow potency after correction over its family.",
)
_LIMITS = (
    "An attribute that follows potency need not cause it: whatever changes both brings the same picture.",
    "Each family is corrected for itself, for each endpoint: more families, more chances for a false finding in one.",
    "Values are compared as sites reported them: only strata by site meet an assay that differs between them.",
)
_MARKS = {True: ("✓ significant", CellState.STRONG), False: ("not significant", CellState.PLAIN)}


def attributes_section(view: LotView, results: ResultSet, numbering: Numbering) -> ModuleSection | None:
    """Return the section, or None where the study asks for no attribute."""
    found = results.attributes
    if found is None:
        return None
    blocks: list[str | Finding | Table | ModuleFigure] = [_families_sentence(found, results)]
    blocks += list(found.warnings)
    blocks += [numbering.finding(_denominator_sentence(pair)) for pair in found.shared_denominators]
    for (endpoint, family), rows in groupby(found.associations, key=lambda row: (row.endpoint, row.family)):
        card = next(card for card in results.endpoints if card.endpoint == endpoint)
        blocks += _family_blocks(view, results, card, family, tuple(rows), numbering)
    return ModuleSection(
        identifier="attributes",
        heading=HEADING,
        outcome=_outcome(found, results),
        blocks=tuple(blocks),
        limits=_LIMITS,
    )


def _outcome(found: AttributesResults, results: ResultSet) -> ModuleOutcome:
    hits = [row for row in found.associations if row.significant]
    if not hits:
        return _NOT_FOUND
    parts = []
    for endpoint, rows in groupby(hits, key=lambda row: row.endpoint):
        assay = next(card.assay for card in results.endpoints if card.endpoint == endpoint)
        listed = list(rows)
        for rises, verb in ((True, "rises with"), (False, "falls with")):
            names = [row.attribute for row in listed if ((row.rho or 0.0) > 0) == rises]
            if names:
                plural = verb.replace("rises", "rise").replace("falls", "fall") if len(names) > 1 else verb
                parts.append(f"{_listed(names)} {plural} {assay}")
    headline = f"{'; '.join(parts)} (each after correction over its family)."
    found_names = {row.attribute for row in hits}
    for pair in found.shared_denominators:
        if found_names.issuperset(pair.attributes):
            headline += f" {_listed(list(pair.attributes))} share a denominator, {pair.denominator}: one observation."
    return ModuleOutcome(code="attributes-found", word="Found", icon="✓", headline=headline)


def _families_sentence(found: AttributesResults, results: ResultSet) -> str:
    attributes = len({row.attribute for row in found.associations})
    families = list(dict.fromkeys(row.family for row in found.associations))
    tests = found.families_tested
    return (
        f"{attributes} attributes in {len(families)} {'family' if len(families) == 1 else 'families'} "
        f"({', '.join(families)}) against {len(results.endpoints)} "
        f"{'potency' if len(results.endpoints) == 1 else 'potencies'}: {tests} "
        f"{'family of tests' if tests == 1 else 'families of tests'}, each corrected for itself (max-T), two-sided, "
        f"strata: {results.study.strata.value}. A value below the limit of detection ranks lowest, tied; a lot without "
        "a value is left out of that attribute only."
    )


def _denominator_sentence(pair: SharedDenominator) -> str:
    first, second = pair.attributes
    between = (
        f" Between them rho is {rho_text(pair.rho_between)} over {pair.n_units} donors."
        if pair.rho_between is not None
        else ""
    )
    return (
        f"{first} and {second} are ratios over the same {pair.denominator}, which alone can make both follow "
        f"potency, and each other.{between} They are one observation rather than two until {pair.denominator} itself "
        "has been looked at."
    )


def _family_blocks(
    view: LotView,
    results: ResultSet,
    card: EndpointCard,
    family: str,
    rows: tuple[AttributeAssociation, ...],
    numbering: Numbering,
) -> list[str | Finding | Table | ModuleFigure]:
    table = _family_table(results, card, family, rows)
    blocks: list[str | Finding | Table | ModuleFigure] = [
        numbering.finding(_lead_sentence(results, card, family, rows)),
        table,
    ]
    lead = rows[0]
    attributes = view.data.attributes
    if lead.rho is not None and attributes is not None and view.discovery_shown():
        figure = lead_figure(view, card, lead, attributes)
        if figure is not None:
            blocks.append(figure)
    return blocks


def _lead_sentence(results: ResultSet, card: EndpointCard, family: str, rows: tuple[AttributeAssociation, ...]) -> str:
    lead, alpha = rows[0], results.study.alpha
    if lead.rho is None:
        return f"Family {family} against {card.assay}: no attribute could be tested ({lead.reason_code})."
    hits = [row for row in rows if row.significant]
    who = (
        f"{_listed([row.attribute for row in hits])} {'follows' if len(hits) == 1 else 'follow'} {card.assay}"
        if hits
        else f"no attribute is shown to follow {card.assay}"
    )
    censored = (
        f", {lead.below_detection_lots} of {lead.n_lots} lots below detection" if lead.below_detection_lots else ""
    )
    return (
        f"Family {family}: {who}. The best of {len(rows)} is {lead.attribute}: rho {rho_text(lead.rho)} "
        f"({percent_text(results.study.confidence)} interval {interval_text(lead.ci_low, lead.ci_high)}, "
        f"{lead.n_units} donors{censored}), {p_equation(lead.p_value)}, corrected "
        f"{p_equation(lead.p_adjusted, alpha=alpha)}."
    )


def _family_table(results: ResultSet, card: EndpointCard, family: str, rows: tuple[AttributeAssociation, ...]) -> Table:
    closed = any(row.rho_clr is not None for row in rows)
    columns = [
        Column("Attribute"),
        Column("Unit"),
        Column("rho", numeric=True),
        Column(captions.column_interval(percent_text(results.study.confidence)), numeric=True),
        Column("p", numeric=True),
        Column("corrected p", numeric=True),
        Column("Donors", numeric=True),
        Column("Lots", numeric=True),
        Column("Lots below detection", numeric=True),
        Column("Lots without value", numeric=True),
        Column("State"),
    ]
    if closed:
        columns += [
            Column("rho, centred log-ratios", numeric=True),
            Column("rho, lead removed", numeric=True),
            Column("corrected p, lead removed", numeric=True),
        ]
    return Table(
        identifier=f"attributes-{card.endpoint}-{family}",
        caption=f"Family {family} against {card.assay}, best first",
        columns=tuple(columns),
        rows=tuple(_table_row(row, results.study.alpha, closed=closed) for row in rows),
    )


def _table_row(row: AttributeAssociation, alpha: float, *, closed: bool) -> Row:
    state = Cell(*_MARKS[row.significant]) if row.rho is not None else Cell(f"{row.reason_code}", CellState.NO_VALUE)
    if row.rho is not None and not row.significant and row.p_adjusted is not None and row.p_adjusted <= alpha:
        state = Cell("only with the lead", CellState.PLAIN)
    below = f"{row.below_detection_lots} ({percent_text(row.below_detection_lots / row.n_lots)})" if row.n_lots else "0"
    cells = [
        Cell(row.attribute),
        Cell(row.unit),
        _number(row.rho, rho_text(row.rho)),
        _number(row.ci_low, interval_text(row.ci_low, row.ci_high)),
        _number(row.p_value, p_text(row.p_value)),
        _number(row.p_adjusted, p_text(row.p_adjusted, alpha=alpha)),
        Cell(f"{row.n_units}", order=row.n_units),
        Cell(f"{row.n_lots}", order=row.n_lots),
        Cell(below, order=row.below_detection_lots),
        Cell(f"{row.missing_lots}", CellState.MISSING if row.missing_lots else CellState.PLAIN, row.missing_lots),
        state,
    ]
    if closed:
        cells += [
            _number(row.rho_clr, rho_text(row.rho_clr)),
            _number(row.rho_after_lead_removal, rho_text(row.rho_after_lead_removal)),
            _number(row.p_after_lead_removal, p_text(row.p_after_lead_removal, alpha=alpha)),
        ]
    return Row(tuple(cells))


def _number(value: float | None, text: str) -> Cell:
    return Cell(text, CellState.NO_VALUE if value is None else CellState.PLAIN, value)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

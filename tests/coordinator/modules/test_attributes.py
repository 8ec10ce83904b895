"""Lot-level attributes against potency: gaps, limits of detection, closure, ratios over one denominator."""

from collections.abc import Sequence

import numpy as np
import pytest

from coordinator.modules.attributes import analyse_attributes
from coordinator.study_data import AttributeTable, PotencyReplicates, StudyData
from protocol.identifiers import EndpointId
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeTransform
from protocol.modules.attributes_results import AttributeAssociation, AttributesResults
from protocol.plan import AnalysisPlan, Endpoint, Strata
from shared.errors import InputError

ENDPOINT = Endpoint(endpoint=EndpointId("vegf"), assay="ELISA", unit="pg/mL")
ANALYSIS = AnalysisPlan(strata=Strata.SITE, draws=999, seed=5)
NAN = float("nan")


def attribute(name: str, kind: AttributeKind = AttributeKind.CONCENTRATION, **fields: object) -> AttributePlan:
    declared = {"attribute": name, "kind": kind, "unit": "pg", "family": "panel", **fields}
    return AttributePlan.model_validate(declared)


def study(
    values: Sequence[Sequence[float]],
    names: Sequence[str],
    *,
    below: Sequence[Sequence[bool]] | None = None,
    potency: Sequence[float] | None = None,
    donors: Sequence[str] | None = None,
) -> StudyData:
    """Return a study of lots in two sites; ``values`` are (lots, attributes)."""
    table = np.array(values, dtype=np.float64)
    n = len(table)
    measured = list(potency) if potency is not None else [float(2**number) for number in range(n)]
    cells = np.full((n, 2), 500, dtype=np.int64)
    return StudyData(
        lots=tuple(f"L{number:02d}" for number in range(n)),
        sites=tuple("ab"[number % 2] for number in range(n)),
        donors=tuple(donors) if donors is not None else tuple(f"D{number:02d}" for number in range(n)),
        tissues=("BM",) * n,
        cohorts=("main",) * n,
        clusters=("c0", "c1"),
        counts_low=cells,
        counts_high=cells,
        unassigned_low=np.zeros(n, dtype=np.int64),
        unassigned_high=np.zeros(n, dtype=np.int64),
        totals_low=cells.sum(axis=1),
        totals_high=cells.sum(axis=1),
        potency={"vegf": PotencyReplicates(runs=tuple(((f"r{k}", (value,), ()),) for k, value in enumerate(measured)))},
        attributes=AttributeTable(
            names=tuple(names),
            values=table,
            below=np.zeros(table.shape, dtype=np.bool_) if below is None else np.array(below, dtype=np.bool_),
        ),
    )


def answer(data: StudyData, *attributes: AttributePlan) -> AttributesResults:
    plan = AttributesPlan(attributes=attributes)
    found = analyse_attributes(data, plan, ANALYSIS, (ENDPOINT,), range(len(data.lots)), threads=1)
    assert found is not None
    return found


def named(found: AttributesResults, name: str) -> AttributeAssociation:
    return next(row for row in found.associations if row.attribute == name)


def test_what_follows_potency_is_found_and_what_does_not_is_not() -> None:
    rng = np.random.default_rng(4)
    noise = rng.permutation(20)
    found = answer(
        study([[3.0 * k, float(noise[k])] for k in range(20)], ("up", "noise")), attribute("up"), attribute("noise")
    )
    assert [row.attribute for row in found.associations] == ["up", "noise"]
    assert named(found, "up").rho == 1.0
    assert named(found, "up").significant
    assert not named(found, "noise").significant


def test_a_lot_without_a_value_is_left_out_of_that_attribute_only() -> None:
    values = [[float(k), NAN if k in {3, 8} else float(k)] for k in range(16)]
    found = answer(study(values, ("all", "some")), attribute("all"), attribute("some"))
    assert (named(found, "all").n_lots, named(found, "all").missing_lots) == (16, 0)
    assert (named(found, "some").n_lots, named(found, "some").n_units, named(found, "some").missing_lots) == (14, 14, 2)


def test_below_detection_ranks_lowest_whatever_the_limit() -> None:
    values = [[NAN if k < 6 else float(k)] for k in range(16)]
    below = [[k < 6] for k in range(16)]
    data = study(values, ("mir",), below=below)
    rhos = {
        named(answer(data, attribute("mir", detection_limit=limit, decimals=6)), "mir").rho for limit in (1e-6, 5.0)
    }
    assert len(rhos) == 1
    row = named(answer(data, attribute("mir", detection_limit=5.0)), "mir")
    assert (row.n_lots, row.below_detection_lots) == (16, 6)


def test_most_lots_below_detection_brings_a_warning() -> None:
    below = [[k < 10] for k in range(16)]
    values = [[NAN if k < 10 else float(k)] for k in range(16)]
    found = answer(study(values, ("mir",), below=below), attribute("mir", detection_limit=5.0))
    (warning,) = found.warnings
    assert warning.startswith("mir: 10 of 16 lots are below its limit of detection")


def test_lots_of_one_donor_are_one_unit_on_the_declared_scale() -> None:
    donors = ["D0", "D1"] * 2 + [f"D{number}" for number in range(4, 14)]
    values = [[float(np.exp(k))] for k in range(14)]
    plain = named(answer(study(values, ("x",), donors=donors), attribute("x")), "x")
    logged = named(answer(study(values, ("x",), donors=donors), attribute("x", transform=AttributeTransform.LOG)), "x")
    assert (plain.n_lots, plain.n_units) == (14, 12)
    assert logged.n_units == 12


def test_two_ratios_over_one_denominator_are_told_with_their_own_correlation() -> None:
    ratio = AttributeKind.RATIO
    plans = (
        attribute("a-per-protein", ratio, denominator="protein"),
        attribute("b-per-protein", ratio, denominator="protein"),
        attribute("c-per-volume", ratio, denominator="volume"),
    )
    found = answer(
        study([[float(k), float(k), float(-k)] for k in range(14)], [each.attribute for each in plans]), *plans
    )
    (pair,) = found.shared_denominators
    assert (pair.attributes, pair.denominator, pair.rho_between) == (("a-per-protein", "b-per-protein"), "protein", 1.0)


def test_a_part_that_only_closure_drags_falls_with_the_lead() -> None:
    rng = np.random.default_rng(2)
    n = 24
    lead = np.linspace(0.2, 0.8, n)
    rest = rng.dirichlet((30.0, 30.0), n) * (1 - lead)[:, None]
    values = np.column_stack([lead, rest])
    plans = tuple(attribute(name, AttributeKind.COMPOSITION, unit="1") for name in ("lead", "other", "third"))
    found = answer(study(values.tolist(), [each.attribute for each in plans]), *plans)
    dragged = [row for row in found.associations if row.attribute != "lead"]
    assert found.associations[0].attribute == "lead"
    assert found.associations[0].significant
    assert any(row.p_adjusted is not None and row.p_adjusted <= 0.05 for row in dragged)  # without the step: false
    assert [row.significant for row in dragged] == [False, False]
    assert all(row.rho_after_lead_removal is not None and row.rho_clr is not None for row in dragged)


def test_the_steps_of_closure_are_for_compositions_only() -> None:
    found = answer(
        study([[float(k), 1.0 - k] for k in range(14)], ("x", "y")),
        attribute("x"),
        attribute("y", AttributeKind.PROCESS),
    )
    assert all(row.rho_clr is None and row.p_after_lead_removal is None for row in found.associations)


def test_an_attribute_that_cannot_be_tested_says_why() -> None:
    found = answer(study([[float(k), 3.0] for k in range(14)], ("x", "same")), attribute("x"), attribute("same"))
    row = named(found, "same")
    assert (row.rho, row.p_adjusted, row.reason_code) == (None, None, "no-variation-in-shares")


def test_families_are_corrected_apart() -> None:
    values = [[float(k), float((7 * k) % 16)] for k in range(16)]
    apart = answer(study(values, ("x", "y")), attribute("x"), attribute("y", family="other"))
    assert apart.families_tested == 2
    assert all(row.p_adjusted == row.p_value for row in apart.associations)


def test_data_without_the_plans_attributes_are_refused_by_name() -> None:
    data = study([[float(k)] for k in range(14)], ("x",))
    with pytest.raises(InputError, match="found no y"):
        answer(data, attribute("x"), attribute("y"))

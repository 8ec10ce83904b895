"""The tables of a simulated study: what a site writes of potency and attributes, and what only ``truth.json`` tells."""

from collections.abc import Sequence

from simulations.attribute_truth import AttributesModel, attribute_texts
from simulations.marker_truth import true_markers
from simulations.scenario import Scenario
from simulations.site_folder import AttributeRow, PotencyRow
from simulations.whole_study import WholeStudy


def potency_rows(whole: WholeStudy, rows: Sequence[int]) -> list[PotencyRow]:
    """Return ``potency.csv`` of some lots: lot by lot, endpoint by endpoint, the lot's wells before the reference's."""
    study = whole.study
    return [
        PotencyRow(
            lot="" if is_reference else study.lots[row],
            endpoint=each.assay.endpoint,
            assay=each.assay.assay,
            value=f"{value:.{each.assay.decimals}f}",
            unit=each.assay.unit,
            run=study.runs[row],
            is_reference=str(is_reference).lower(),
        )
        for row in rows
        for each in whole.potencies
        for is_reference, values in ((False, each.replicates[row]), (True, each.references[row]))
        for value in values
    ]


def attribute_rows(whole: WholeStudy, rows: Sequence[int]) -> list[AttributeRow]:
    """Return ``attributes.csv`` of some lots, lot by lot; an attribute that a lot lacks has no row."""
    if whole.attributes is None:
        return []
    drawn = whole.attributes
    result = []
    for row in rows:
        for column, each in enumerate(drawn.plan.attributes):
            (text,) = attribute_texts([drawn.values[row, column]], [drawn.below[row, column]], each.decimals)
            if text:
                result.append(
                    AttributeRow(
                        lot=whole.study.lots[row],
                        attribute=each.attribute,
                        value=text,
                        unit=each.unit,
                        assay=each.assay or "not told",
                    )
                )
    return result


def truth_beside(scenario: Scenario, whole: WholeStudy) -> dict[str, object]:
    """Return what ``truth.json`` tells of several potencies and of attributes; empty where there are none."""
    told: dict[str, object] = {}
    if len(whole.potencies) > 1:
        told["potencies"] = [
            {
                "endpoint": each.assay.endpoint,
                "drivers": [whole.study.clusters[driver] for driver in each.driver_clusters],
                "slope_ln_potency_per_unit_share": each.slope,
                "true_log_potency": [round(float(value), 9) for value in each.true_log_potency],
            }
            for each in whole.potencies
        ]
    if scenario.modules.markers is not None:
        clusters, drivers = len(whole.study.clusters), whole.study.driver_clusters
        told["markers"] = true_markers(clusters, drivers, scenario.modules.markers.genes)
    if scenario.attributes is not None:
        told["attributes"] = _truth_of_attributes(scenario.attributes)
    return told


def _truth_of_attributes(model: AttributesModel) -> dict[str, object]:
    return {
        "drivers": list(model.drivers),
        "dragged_by_their_denominator": list(model.dragged),
        "correlation_with_log_potency": {
            **{each.plan.attribute: each.quantity.correlation for each in model.attributes},
            **{name: quantity.correlation for name, quantity in model.denominators.items()},
        },
    }

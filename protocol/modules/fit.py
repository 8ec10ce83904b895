"""Whether a lot report's module parts are those that the plan asks for: the same rule at the site and on receipt.

A part that the plan does not ask for is absent. One that it asks for has the plan's genes or attributes and no others.
"""

from protocol.modules.asked import Modules
from protocol.modules.attributes import AttributesPlan, AttributeValue
from protocol.modules.comparability import Arm
from protocol.modules.markers import ClusterMoments, LotMarkers, MarkersPlan


def misfit_of_modules(
    modules: Modules,
    *,
    arm: Arm | None,
    attributes: tuple[AttributeValue, ...],
    markers: LotMarkers | None,
    n_clusters: int,
) -> str | None:
    """Return what does not fit the plan's modules in one sentence, or None where all does.

    Parameters
    ----------
    modules
        What the plan asks for.
    arm, attributes, markers
        The report's parts.
    n_clusters
        Of the plan's atlas.
    """
    if arm is not None and modules.comparability is None:
        return "the plan does not ask for the module comparability, yet an arm is given."
    if attributes and modules.attributes is None:
        return "the plan does not ask for the module attributes, yet some are given."
    if markers is not None and modules.markers is None:
        return "the plan does not ask for the module markers, yet moments are given."
    misfit = None if modules.attributes is None else _misfit_of_attributes(modules.attributes, attributes)
    if misfit is None and markers is not None and modules.markers is not None:
        return _misfit_of_markers(modules.markers, markers, n_clusters)
    return misfit


def _misfit_of_attributes(plan: AttributesPlan, attributes: tuple[AttributeValue, ...]) -> str | None:
    names = [each.attribute for each in attributes]
    if len(set(names)) != len(names) or any(plan.named(name) is None for name in names):
        return "an attribute stands twice, or is not one that the plan declares."
    if any(not _is_of(plan, each) for each in attributes):
        return "an attribute is not of the kind that the plan declares, or below a limit that it does not declare."
    return None


def _is_of(plan: AttributesPlan, found: AttributeValue) -> bool:
    declared = plan.named(found.attribute)
    if declared is None or found.below_detection != (found.value is None):
        return False
    return declared.detection_limit is not None if found.value is None else declared.misfit(found.value) is None


def _misfit_of_markers(plan: MarkersPlan, markers: LotMarkers, n_clusters: int) -> str | None:
    places = [each.cluster for each in markers.clusters]
    if places != sorted(set(places)) or any(place >= n_clusters for place in places):
        return "clusters of the moments are not of the atlas, in its order, each once."
    for each in markers.clusters:
        if any(len(part) != len(plan.genes) for part in (each.mean, each.m2, each.sum_expm1, each.nonzero)):
            return "the moments are not one for each gene of the plan."
        if not _is_of_enough_cells(each, plan):
            return f"moments of fewer than {plan.minimum_cells} cells are given."
        if any(not _moments_agree(each, gene) for gene in range(len(plan.genes))):
            return "moments are given that no cells can have."
    return _misfit_of_high_cells(plan, markers, n_clusters)


def _misfit_of_high_cells(plan: MarkersPlan, markers: LotMarkers, n_clusters: int) -> str | None:
    asked = [(each.gene, each.threshold) for each in plan.predictors]
    if markers.high_cells and [(each.gene, each.threshold) for each in markers.high_cells] != asked:
        return "the numbers of marker-high cells are not those of the plan's predictors, in their order."
    for each, predictor in zip(markers.high_cells, plan.predictors, strict=False):
        if (each.cluster is None) != (predictor.cluster is None) or (each.cluster or 0) >= n_clusters:
            return "a number of marker-high cells is of another cluster than the plan's predictor."
    return None


def _is_of_enough_cells(moments: ClusterMoments, plan: MarkersPlan) -> bool:
    """Return whether moments rest on enough cells, or the cluster is empty: no cell told, and no moment."""
    parts = (*moments.mean, *moments.m2, *moments.sum_expm1, *moments.nonzero)
    return moments.cells >= plan.minimum_cells or (moments.cells == 0 and all(part is None for part in parts))


def _moments_agree(moments: ClusterMoments, gene: int) -> bool:
    mean, m2, scaled, nonzero = (part[gene] for part in (moments.mean, moments.m2, moments.sum_expm1, moments.nonzero))
    if gene in moments.few or mean is None or m2 is None or scaled is None:
        return mean is None and m2 is None and scaled is None and nonzero is None
    return min(mean, m2, scaled) >= 0 and (nonzero is None or nonzero <= moments.cells)

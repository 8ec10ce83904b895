"""What of a report's moments a receiver refuses: of other genes, of too few cells, or what no cells can have."""

import pytest
from pydantic import ValidationError

from protocol.modules.asked import Modules
from protocol.modules.fit import misfit_of_modules
from protocol.modules.markers import ClusterMoments, HighCells, LotMarkers, MarkerPredictor, MarkersPlan

PLAN = MarkersPlan(genes=("A", "B"), predictors=(MarkerPredictor(gene="A", cluster="c1", threshold=2.0),))
SOUND = ClusterMoments(
    cluster=0, cells=40, mean=(1.0, None), m2=(2.0, None), sum_expm1=(3.0, None), nonzero=(30, None), few=(1,)
)
HIGH = HighCells(gene="A", cluster=1, threshold=2.0, low=12, high=12)


def _misfit(markers: LotMarkers) -> str | None:
    return misfit_of_modules(Modules(markers=PLAN), arm=None, attributes=(), markers=markers, n_clusters=3)


def test_sound_moments_fit() -> None:
    assert _misfit(LotMarkers(clusters=(SOUND,), high_cells=(HIGH,))) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cells": 19}, "fewer than 20 cells"),
        ({"cells": 0}, "fewer than 20 cells"),
        ({"mean": (-1.0, None)}, "no cells can have"),
        ({"nonzero": (41, None)}, "no cells can have"),
        ({"few": (0, 1)}, "no cells can have"),
        ({"mean": (None, None)}, "no cells can have"),
        ({"m2": (2.0,)}, "one for each gene"),
    ],
)
def test_moments_that_do_not_fit_are_named(change: dict[str, object], said: str) -> None:
    assert said in (_misfit(LotMarkers(clusters=(SOUND.model_copy(update=change),))) or "")


@pytest.mark.parametrize("change", [{"gene": "B"}, {"threshold": 2.5}, {"cluster": None}, {"cluster": 3}])
def test_marker_high_cells_of_another_predictor_do_not_fit(change: dict[str, object]) -> None:
    markers = LotMarkers(clusters=(SOUND,), high_cells=(HIGH.model_copy(update=change),))
    assert "marker-high" in (_misfit(markers) or "")


@pytest.mark.parametrize(
    ("predictors", "said"),
    [
        ([("C", None, 1.0)], "genes of the allow-list"),
        ([("A", "c1", 1.0), ("A", "c1", 2.0)], "one threshold"),
        ([("A", None, 1.0), ("A", "c1", 1.0)], "one threshold"),
    ],
)
def test_a_plan_whose_predictors_would_give_counts_back_is_refused(
    predictors: list[tuple[str, str | None, float]], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        MarkersPlan(
            genes=("A", "B"),
            predictors=tuple(MarkerPredictor(gene=g, cluster=c, threshold=t) for g, c, t in predictors),
        )

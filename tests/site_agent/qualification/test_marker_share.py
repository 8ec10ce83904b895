"""The share of marker-high cells of a new lot: counted in its cluster, and judged only where it says enough."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from coordinator.atlas_signing import manifest_of
from protocol.modules.markers import MarkerPredictor
from protocol.modules.signed_specification import Specification
from protocol.plan import QualityLimits
from shared.atlas.artefact import to_bytes
from site_agent.cells.lot_mapping import summarise_lot
from site_agent.cells.mapping import map_source
from site_agent.cells.reading import open_cells
from site_agent.qualification.judgement import QualificationVerdict, ReasonCode, judge_lot
from site_agent.qualification.lot import LotFile, facts_of
from site_agent.qualification.records import of_the_same_kind, with_a_sound_share
from tests.site_agent.qualification.specifications import make_facts, make_specification
from tests.site_agent.qualification.test_records import make_record
from tests.study_with_cells import SYMBOLS, cell_study

HIGH = MarkerPredictor(gene="GENE3", cluster="beta", threshold=4.0)


def _specification(marker: MarkerPredictor = HIGH, **changes: Any) -> Specification:  # noqa: ANN401 - of any field
    of_marker = {"cluster": None, "marker": marker, "marker_minimum_cells": 20}
    return make_specification(**(of_marker | changes))


def test_the_share_is_counted_among_the_cells_of_its_cluster(tmp_path: Path) -> None:
    study = cell_study()
    study.of_lot("Batch-E").write_h5ad(tmp_path / "lot.h5ad")
    specification = _specification(
        atlas=manifest_of(to_bytes(study.atlas)).reference(), quality=QualityLimits(minimum_cells_per_lot=50)
    )
    facts = facts_of(LotFile(path=tmp_path / "lot.h5ad"), study.atlas, specification, threads=1)
    with open_cells(tmp_path / "lot.h5ad") as source:
        lot = summarise_lot(map_source(source, study.atlas, threads=1), specification.quality)
    in_beta = (lot.mapping.label == lot.clusters.index("beta")) & lot.kept
    counts = np.asarray(study.of_lot("Batch-E").X.todense(), dtype=np.float64)
    logs = np.log1p(1e4 * counts[:, SYMBOLS.index("GENE3")] / counts.sum(axis=1))
    high = int((logs[in_beta] >= HIGH.threshold).sum())
    assert 0 < high < in_beta.sum()
    assert (facts.cells_of_share, facts.has_gene) == (in_beta.sum(), True)
    assert facts.share == high / in_beta.sum()
    interval = binomtest(high, int(in_beta.sum())).proportion_ci(0.9, method="wilson")
    assert (facts.share_low, facts.share_high) == (interval.low, interval.high)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"has_gene": False, "share": float("nan")}, ReasonCode.GENE_MISSING),
        ({"cells_of_share": 0, "share": float("nan")}, ReasonCode.TOO_FEW_MARKER_CELLS),
        ({"cells_of_share": 19}, ReasonCode.TOO_FEW_MARKER_CELLS),
    ],
)
def test_a_share_that_cannot_be_had_or_says_little_is_not_judged(facts: dict[str, Any], code: ReasonCode) -> None:
    judged = judge_lot(make_facts(**facts), _specification())
    assert judged.verdict is QualificationVerdict.CANNOT_BE_JUDGED
    assert [each.code for each in judged.reasons] == [code]
    assert "GENE3" in judged.reasons[0].sentence
    assert judged.potency is None


def test_enough_cells_are_judged_and_the_interval_is_said_to_be_that_of_counting() -> None:
    judged = judge_lot(make_facts(cells_of_share=20), _specification())
    assert judged.verdict is QualificationVerdict.PASS
    assert any("interval is that of counting cells" in remark for remark in judged.remarks)


def test_a_specification_holds_a_cluster_or_a_marker_of_its_atlas() -> None:
    for changes in ({"cluster": "beta"}, {"marker": None}):
        with pytest.raises(ValueError, match="expected a cluster or a marker"):
            _specification(**changes)
    with pytest.raises(ValueError, match="expected a cluster of the atlas"):
        _specification(MarkerPredictor(gene="GENE3", cluster="delta", threshold=4.0))


def test_only_lots_of_the_same_marker_are_charted_together() -> None:
    records = [
        make_record("cluster"),
        make_record("marker", cluster=None, marker=HIGH),
        make_record("other", cluster=None, marker=HIGH.model_copy(update={"threshold": 4.5})),
        make_record("lacking", cluster=None, marker=HIGH, share=None, reasons=(ReasonCode.GENE_MISSING,)),
    ]
    alike = of_the_same_kind(records, cluster=None, atlas_sha256="a" * 64, marker=HIGH)
    assert [each.lot for each in alike] == ["marker", "lacking"]
    assert [each.lot for each in with_a_sound_share(alike)] == ["marker"]

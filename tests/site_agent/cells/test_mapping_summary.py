"""What a summary says is of its kind and within its bounds, though code makes it and nobody reads it back."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protocol.cell_limits import DEFAULT_LIMITS, PlainLimits
from shared.atlas.artefact import to_bytes
from site_agent.cells.diagnostics import LotDiagnostics, diagnose
from site_agent.cells.lot_mapping import LotMapping, summarise_lot
from site_agent.cells.map_command import map_file
from site_agent.cells.mapping import map_cells
from site_agent.cells.mapping_summary import MappingSummary, summary_of
from tests.site_agent.cells.conftest import SmallStudy


@pytest.fixture(scope="module")
def mapped(small_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[LotMapping, LotDiagnostics]:
    path = tmp_path_factory.mktemp("lot") / "cells.h5ad"
    small_study.write(path)
    lot = summarise_lot(map_cells(path, small_study.atlas, threads=1), DEFAULT_LIMITS)
    return lot, diagnose(small_study.atlas, lot)


def _summary(lot: LotMapping, found: LotDiagnostics, limits: PlainLimits = DEFAULT_LIMITS) -> MappingSummary:
    return summary_of(lot, found, limits, atlas_sha256="0" * 64)


def test_a_sound_summary_is_made_and_cannot_be_changed(mapped: tuple[LotMapping, LotDiagnostics]) -> None:
    summary = _summary(*mapped)
    assert summary == _summary(*mapped)
    assert hash(summary) == hash(_summary(*mapped))
    with pytest.raises(AttributeError, match="immutable"):
        summary.file = "another"  # type: ignore[misc]  # what is tried
    with pytest.raises(AttributeError, match="immutable"):
        DEFAULT_LIMITS.minimum_cells_per_lot = 1  # type: ignore[misc]  # what is tried


@pytest.mark.parametrize(
    ("medians", "message"),
    [
        ({"counts": math.nan}, "median_counts"),
        ({"genes": math.inf}, "median_genes"),
        ({"mitochondrial_share": "0.1"}, "median_mitochondrial_share"),
        ({"counts": True}, "median_counts"),
        ({"counts": np.float64(1)}, "numpy.float64"),
    ],
)
def test_a_median_that_is_no_finite_number_is_not_written(
    mapped: tuple[LotMapping, LotDiagnostics], medians: dict[str, Any], message: str
) -> None:
    lot, found = mapped
    with pytest.raises((TypeError, ValueError), match=message):
        _summary(replace(lot, medians=replace(lot.medians, **medians)), found)


@pytest.mark.parametrize("wrong", [1.5, -0.5, math.nan])
def test_a_share_out_of_bounds_is_not_written(mapped: tuple[LotMapping, LotDiagnostics], wrong: float) -> None:
    lot, found = mapped
    with pytest.raises(msgspec.ValidationError, match=r"quality.gene_coverage"):
        _summary(replace(lot, gene_coverage=wrong), found)
    with pytest.raises(msgspec.ValidationError, match=r"trust.em_gap"):
        _summary(lot, replace(found, em_gap=wrong))


def test_a_count_that_is_no_whole_number_is_not_written(mapped: tuple[LotMapping, LotDiagnostics]) -> None:
    lot, found = mapped
    for wrong in (True, 1.0):
        with pytest.raises(msgspec.ValidationError, match=r"cells.removed.few_genes"):
            _summary(replace(lot, removed=replace(lot.removed, few_genes=wrong)), found)  # type: ignore[arg-type]  # what is tried


@pytest.mark.parametrize("wrong", [{"minimum_gene_coverage": math.nan}, {"minimum_cells_per_lot": 1.0}])
def test_limits_that_are_not_of_their_kind_are_not_written(
    mapped: tuple[LotMapping, LotDiagnostics], wrong: dict[str, Any]
) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        _summary(*mapped, msgspec.structs.replace(DEFAULT_LIMITS, **wrong))


def test_the_written_summary_reads_as_what_was_returned(small_study: SmallStudy, tmp_path: Path) -> None:
    small_study.write(tmp_path / "cells.h5ad")
    (tmp_path / "a.atlas").write_bytes(to_bytes(small_study.atlas))
    summary = map_file(tmp_path / "cells.h5ad", tmp_path / "a.atlas", tmp_path / "out")
    text = (tmp_path / "out" / "summary.json").read_bytes()
    assert msgspec.json.decode(text, type=MappingSummary) == summary
    assert text.startswith(b'{\n  "schema": "crosslot.mapping-summary/1",\n  "atlas": ')
    with pytest.raises(msgspec.ValidationError, match="unknown field `more`"):
        msgspec.json.decode(text.replace(b"{", b'{"more": 1,', 1), type=MappingSummary)

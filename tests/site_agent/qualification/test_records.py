"""The site's record of lots: appended whole, read in the order of making, a damaged line named."""

import stat
from pathlib import Path

import pytest

from protocol.identifiers import Sha256, instant
from shared.errors import InputError
from site_agent.qualification.judgement import QualificationVerdict
from site_agent.qualification.records import QualifiedLot, append_record, of_the_same_kind, read_records
from tests.study_parts import NOW, STUDY


def make_record(lot: str, made: str = "2026-11-20", **changes: object) -> QualifiedLot:
    fields = {
        "lot": lot,
        "made": made,
        "judged": instant(NOW),
        "study": STUDY,
        "specification_sha256": Sha256("d" * 64),
        "specification_version": 1,
        "atlas_sha256": Sha256("a" * 64),
        "cells_sha256": None,
        "cluster": "beta",
        "cells": 900,
        "gene_coverage": 0.98,
        "share": 0.4,
        "share_low": 0.38,
        "share_high": 0.42,
        "unassigned_share": 0.01,
        "verdict": QualificationVerdict.PASS,
        "reasons": (),
    }
    return QualifiedLot.model_validate(fields | changes)


def test_lots_are_read_in_the_order_of_making_each_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "qualified.jsonl"
    assert read_records(path) == ()
    for record in (
        make_record("L2", "2026-02-01"),
        make_record("L1", "2026-01-01", share=0.3),
        make_record("L2", "2026-02-01", share=0.5),  # judged again: the later line counts
    ):
        append_record(path, record)
    assert [(each.lot, each.share) for each in read_records(path)] == [("L1", 0.3), ("L2", 0.5)]
    assert len(path.read_bytes().splitlines()) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "qualified.jsonl"
    append_record(path, make_record("L1"))
    path.write_bytes(path.read_bytes() + b'{"lot":"L2"}\n')
    with pytest.raises(InputError, match="line 2: expected the record of a lot") as caught:
        read_records(path)
    assert caught.value.hint is not None


def test_shares_of_another_cluster_or_atlas_are_not_mixed() -> None:
    records = [make_record("L1"), make_record("L2", cluster="alpha"), make_record("L3", atlas_sha256="e" * 64)]
    assert [each.lot for each in of_the_same_kind(records, cluster="beta", atlas_sha256="a" * 64)] == ["L1"]


@pytest.mark.parametrize("made", ["2026-13-01", "20261120", "yesterday", "2026-1-1"])
def test_a_day_that_is_none_is_refused(made: str) -> None:
    with pytest.raises(ValueError, match="expected a day"):
        make_record("L1", made)

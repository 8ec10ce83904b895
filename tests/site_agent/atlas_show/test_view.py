"""What is shown of an atlas equals what is in it, and says where nothing was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.atlas.artefact import Atlas, sha256, to_bytes
from shared.atlas.proportions import composition
from site_agent.atlas_show import tables
from site_agent.atlas_show.model import EXAMPLE_SHARE
from site_agent.atlas_show.revealing import CELL_ATTACK, LOT_ATTACK, what_it_may_reveal
from site_agent.atlas_show.rounding import printable
from site_agent.atlas_show.shown import as_document, show_text
from tests.site_agent.atlas_show.conftest import SECRET_LOTS, renamed, viewed

DOCS = Path(__file__).resolve().parents[3] / "docs" / "mapping.md"


def _words(atlas: Atlas) -> str:
    return json.dumps(
        [(table.title, table.columns, table.rows, table.note) for table in show_text(atlas, to_bytes(atlas))]
    )


def test_recall_precision_and_unassigned_come_from_the_confusion(three: Atlas) -> None:
    view = viewed(three)
    for place, each in enumerate(view.classes):
        row, column = three.confusion[place], three.confusion[:, place]
        assert each.recall == pytest.approx(row[place] / row.sum())
        assert each.precision == pytest.approx(row[place] / column.sum())
        assert each.unassigned_rate == pytest.approx(row[-1] / row.sum())
        assert each.cells_by_lot == tuple(three.cells[place])


def test_the_interval_shown_is_the_one_that_a_lot_would_get(three: Atlas) -> None:
    n = 10_000_000  # so many cells that the half cell added on either side does not show
    counts = np.full(len(three.clusters), 0)
    counts[0], counts[1] = round(EXAMPLE_SHARE * n), n - round(EXAMPLE_SHARE * n)
    found = composition(three, counts, 0)
    half = viewed(three).classes[0].half_width
    assert half == pytest.approx((found.high[0] - found.low[0]) / 2, rel=1e-5)


def test_the_text_names_hash_size_lots_dropped_labels_and_markers(three: Atlas) -> None:
    data, text = to_bytes(three), _words(three)
    assert sha256(data) in text
    assert f"{len(data):,} bytes" in text
    assert "reference-3" in text
    assert "kind 4" in text
    assert "fewer than 5 cells" in text
    assert "GENE1 2.2 (90% / 10%)" in text


@pytest.mark.parametrize("lots", ["one", "two", "three"])
def test_no_lots_own_name_is_shown(lots: str, request: pytest.FixtureRequest) -> None:
    atlas = request.getfixturevalue(lots)
    text = _words(atlas) + json.dumps(as_document(viewed(atlas)), ensure_ascii=False)
    assert not [name for name in SECRET_LOTS if name in text or json.dumps(name)[1:-1] in text]


def test_one_lot_says_that_nothing_was_measured(one: Atlas) -> None:
    view = viewed(one)
    assert {each.recall for each in view.classes} == {None}
    assert {row[4] for row in tables.class_rows(view).rows} == {"not measured"}
    assert {row[5] for row in tables.class_rows(view).rows} == {"not measured"}
    assert tables.transfer_rows(view).rows[0][1] == "not measured"
    assert "nothing of another lot" in tables.confusion_rows(view).note
    assert "All of it is about one reference lot." in what_it_may_reveal(view).risks


def test_two_lots_say_that_intervals_were_not_measured(two: Atlas) -> None:
    view = viewed(two)
    at = tables.class_rows(view).columns.index("its scale")
    assert {row[at] for row in tables.class_rows(view).rows} == {"not measured"}
    assert {row[at - 1] for row in tables.class_rows(view).rows} == {"not measured"}
    assert "not calibrated" in tables.transfer_rows(view).note


def test_a_class_of_one_lot_is_said_to_be_that_lots(three: Atlas) -> None:
    cells = three.cells.copy()
    cells[0] = [cells[0].sum(), 0, 0]
    risks = what_it_may_reveal(viewed(replace(three, cells=cells))).risks
    assert any("occurs in one lot is that lot's: “kind 0”" in each for each in risks)


def test_small_classes_are_named_with_their_cells(three: Atlas) -> None:
    cells = three.cells.copy()
    cells[1] = [3, 2, 2]
    risks = what_it_may_reveal(viewed(replace(three, cells=cells))).risks
    assert any("“kind 1” (7)" in each for each in risks)


def test_the_figures_of_the_attacks_stand_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for auroc, data, cells in CELL_ATTACK:
        assert auroc in text
        assert f"{data}, {cells} cells" in text
    for auroc, lots in LOT_ATTACK:
        assert auroc in text
        assert f"{lots} lots" in text


def test_many_lots_are_summed_up_and_said_to_be(three: Atlas) -> None:
    many = np.tile(three.cells[:, :1], (1, 200))
    table = tables.lot_rows(viewed(replace(three, cells=many)))
    assert len(table.columns) == 6
    assert "all 200 lots" in table.note


def test_the_document_is_json_without_nan(one: Atlas, three: Atlas) -> None:
    for atlas in (one, three):
        document = json.loads(json.dumps(as_document(viewed(atlas)), allow_nan=False))
        assert [each["name"] for each in document["classes"]] == list(atlas.clusters)
        assert document["confusion"] == atlas.confusion.tolist()


@given(st.lists(st.text(max_size=12), max_size=6, unique=True))
def test_shown_names_print_and_stay_apart(names: list[str]) -> None:
    shown = [printable(name) for name in names]
    assert all(each.isprintable() for each in shown)
    assert len(set(shown)) == len(names)


def test_what_drives_a_terminal_is_written_as_its_code(three: Atlas) -> None:
    atlas = renamed(three, "\x9b31m\u202eevil")
    text = " ".join(cell for table in show_text(atlas, to_bytes(atlas)) for row in table.rows for cell in row)
    assert "evil" in text
    assert "\x9b" not in text
    assert "\u202e" not in text

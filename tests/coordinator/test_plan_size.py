"""What a study needs before it starts."""

import itertools
from xml.etree import ElementTree as ET

import pytest

from coordinator.plan_size import SIZE_COLUMNS, SizeQuestion, power_curve, size_cells, size_rows
from coordinator.plan_size_plot import power_plot
from shared.errors import DesignError, InputError


def test_every_combination_is_a_row_and_reaches_the_power() -> None:
    rows = size_rows(SizeQuestion(rho=(0.7, 0.8), clusters=(1, 12), sites=(1, 4), cells=(None, 2_000)))
    assert len(rows) == 16
    assert all(row.power_formula >= 0.8 for row in rows)
    assert [row.rho for row in rows] == [0.7] * 8 + [0.8] * 8


def test_fewer_cells_need_more_lots() -> None:
    known, many, few = size_rows(SizeQuestion(rho=(0.7,), clusters=(6,), cells=(None, 4_000, 200)))
    assert known.lots <= many.lots < few.lots
    assert few.rho_observable < many.rho_observable < known.rho_observable == 0.7


def test_a_given_design_gets_its_power_by_formula_and_by_simulation() -> None:
    told: list[tuple[int, int]] = []
    (row,) = size_rows(
        SizeQuestion(rho=(0.8,), clusters=(3,), sites=(2,), lots=(16,), runs=100),
        progress=lambda done, of: told.append((done, of)),
    )
    assert (row.lots, row.lots_per_site, told) == (16, 8, [(1, 1)])
    assert row.simulated is not None
    assert abs(row.simulated.power - row.power_formula) < 0.15 + 3 * row.simulated.error  # the formula is conservative


def test_the_same_seed_gives_the_same_rows() -> None:
    question = SizeQuestion(rho=(0.8,), clusters=(3,), lots=(10,), runs=20, seed=4)
    assert size_rows(question) == size_rows(question)


def test_a_design_that_cannot_reach_alpha_says_so() -> None:
    (row,) = size_rows(SizeQuestion(rho=(0.9,), clusters=(1,), sites=(4,), lots=(8,), runs=3))
    assert size_cells(row)[-1] == "cannot reach alpha"
    assert len(size_cells(row)) == len(SIZE_COLUMNS)


def test_power_grows_with_the_lots() -> None:
    curve = power_curve(0.6, range(5, 60), clusters=12, sites=2)
    assert all(a <= b for a, b in itertools.pairwise(curve))


def test_the_plot_is_the_same_bytes_and_well_formed() -> None:
    drawn = [power_plot((0.6, 0.8), clusters=12, sites=4) for _ in range(2)]
    assert drawn[0] == drawn[1]
    root = ET.fromstring(drawn[0])  # noqa: S314 - our own text
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2


@pytest.mark.parametrize(
    "question",
    [
        SizeQuestion(rho=(), clusters=(1,)),
        SizeQuestion(rho=(1.2,), clusters=(1,)),
        SizeQuestion(rho=(0.5,), clusters=(0,)),
        SizeQuestion(rho=(0.5,), clusters=(1,), lots=(-3,)),
        SizeQuestion(rho=(0.5,), clusters=(1,), power=1.0),
        SizeQuestion(rho=(0.5,), clusters=(1,), concentration=0.0),
        SizeQuestion(rho=(0.5,), clusters=(1,), runs=-1),
    ],
)
def test_a_question_outside_its_range_is_refused(question: SizeQuestion) -> None:
    with pytest.raises(InputError, match="expected"):
        size_rows(question)


def test_a_rho_too_small_to_show_is_refused_by_name() -> None:
    with pytest.raises(DesignError) as caught:
        size_rows(SizeQuestion(rho=(0.001,), clusters=(1,)))
    assert caught.value.code == "rho-too-small"


def test_a_plot_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="more than"):
        power_plot((0.5,), clusters=1, sites=10, most_lots=9)
    with pytest.raises(InputError, match="1 to 7"):
        power_plot((), clusters=1)

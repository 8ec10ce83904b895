import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, seal
from protocol.identifiers import StudyId
from protocol.plan import Profile
from protocol.policy import EffectiveRules, OptionalField
from protocol.pseudonyms import NameKind, pseudonym
from protocol.report import Count, LotReport
from protocol.signing import SigningKey
from shared.errors import InputError, InternalError
from site_agent.release.summaries import MappedLot, padded_size, provenance_of

MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]
SECRET = bytes(range(32))  # as in conftest
LIMIT = PAYLOAD_LIMITS[PayloadType.LOT_REPORT]


def _scaled(cells: int, clusters: int) -> list[int]:
    # A lot of about so many cells with uneven shares.
    return [cells * (number + 1) * 2 // (clusters * (clusters + 1)) for number in range(clusters)]


@pytest.mark.disclosure
@pytest.mark.parametrize("profile", Profile)
def test_the_size_is_the_same_from_fifty_to_ten_million_cells(
    make_rules: MakeRules, make_report: MakeReport, key: SigningKey, profile: Profile
) -> None:
    rules = make_rules(profile, clusters=40)
    sizes = {
        len(seal(encode(make_report(rules, *_scaled(cells, 40))), PayloadType.LOT_REPORT, key))
        for cells in (50, 51, 99, 500, 2_000, 99_999, 1_000_000, 10_000_000)
    }
    assert len(sizes) == 1


@pytest.mark.disclosure
@given(
    counts=st.lists(st.integers(0, 10**7), min_size=5, max_size=5),
    unassigned=st.integers(0, 10**7),
    medians=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
    shares=st.tuples(st.none() | st.floats(0, 1), st.floats(0, 1)),
    profile=st.sampled_from(Profile),
)
@settings(max_examples=60)
def test_the_size_tells_nothing_of_counts_and_quality(
    make_rules: MakeRules,
    make_report: MakeReport,
    counts: list[int],
    unassigned: int,
    medians: tuple[float, float],
    shares: tuple[float | None, float],
    profile: Profile,
) -> None:
    rules = make_rules(profile)
    report = make_report(
        rules,
        *counts,
        unassigned=unassigned,
        median_counts=medians[0],
        median_genes=medians[1],
        median_mitochondrial_share=shares[0],
        gene_coverage=shares[1],
    )
    plain = make_report(rules, 1, 1, 1, 1, 1)
    # The profile's name and its threshold are in the report and no secret; all else has one width.
    assert len(encode(report)) == len(encode(plain)) == padded_size(report)
    assert len(encode(report)) % 256 == 0


@pytest.mark.parametrize("profile", Profile)
def test_the_envelope_of_a_lot_of_forty_clusters_is_at_most_four_kib(
    make_rules: MakeRules, make_report: MakeReport, a_measurement: type[Any], key: SigningKey, profile: Profile
) -> None:
    # Two endpoints' worth of values in one series: six replicates and six references of five digits.
    measurement = a_measurement(replicates=(12345.6,) * 6, reference_replicates=(12345.6,) * 6)
    report = make_report(make_rules(profile, clusters=40), *[250_000] * 40, measurement=measurement)
    assert len(seal(encode(report), PayloadType.LOT_REPORT, key)) <= 4096


def test_a_report_holds_what_the_lot_is(
    rules: EffectiveRules, make_report: MakeReport, make_lot: Callable[..., Any]
) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3, unassigned=20)
    assert report.counts == (*(Count.exactly(cells) for cells in (1200, 500, 290, 7)), Count(low=1, high=4))
    assert report.unassigned == Count.exactly(20)
    assert report.cells_after_qc == Count(low=2018, high=2021)
    assert (report.tissue, report.passage, report.period) == ("bone marrow", 5, "2026-Q3")
    assert report.plan_sha256 == rules.plan_sha256
    assert report.disclosure.policy_sha256 == rules.policy_sha256
    assert report.quality.gene_coverage == 0.988
    assert decode(LotReport, encode(report), limit=LIMIT) == report
    assert sum(make_lot(1, 2).counts) == 3


@pytest.mark.disclosure
def test_potency_leaves_at_the_assays_precision(rules: EffectiveRules, make_report: MakeReport) -> None:
    (series,) = make_report(rules, 600, 1, 1, 1, 1).potency
    assert series.replicates == (812.5, 790.1, 801.0)
    assert series.reference_replicates == (1000.0, 998.0, 1003.3)


@pytest.mark.disclosure
def test_no_name_and_no_date_of_the_sites_own_leaves(rules: EffectiveRules, make_report: MakeReport) -> None:
    payload = encode(make_report(rules, 600, 1, 1, 1, 1)).decode()
    for secret in ("BM-01", "donor 7", "2026-03-14", SECRET.hex()):
        assert secret not in payload
    assert not re.search(r"\d{4}-\d{2}-\d{2}", payload)
    report = make_report(rules, 600, 1, 1, 1, 1)
    study = StudyId("vegf-2026")
    assert report.lot == pseudonym(SECRET, study=study, kind=NameKind.LOT, name="BM-01")
    assert report.donor == pseudonym(SECRET, study=study, kind=NameKind.DONOR, name="donor 7")
    assert report.potency[0].run == pseudonym(SECRET, study=study, kind=NameKind.RUN, name="2026-03-14 a")


@pytest.mark.disclosure
def test_a_lot_bears_another_pseudonym_in_another_study(make_rules: MakeRules, make_report: MakeReport) -> None:
    one, other = (make_report(make_rules(study=study), 600, 1, 1, 1, 1) for study in ("vegf-2026", "q5e-2027"))
    assert {one.lot, one.donor, one.potency[0].run}.isdisjoint({other.lot, other.donor, other.potency[0].run})


def test_a_lot_and_its_cells_are_known_again_under_any_atlas(
    make_lot: Callable[..., MappedLot], a_lot: type[Any]
) -> None:
    known = provenance_of(make_lot(600, 3, 2), a_lot(), SECRET)
    assert provenance_of(make_lot(500, 100, 1, 1, 1, unassigned=2), a_lot(), SECRET) == known
    for other in (make_lot(600, 3, 3), make_lot(600, 3, 2, median_genes=2210.0)):
        changed = provenance_of(other, a_lot(), SECRET)
        assert changed.lot_sha256 == known.lot_sha256
        assert changed.cells_sha256 != known.cells_sha256
    assert provenance_of(make_lot(600, 3, 2), a_lot(lot="BM-02"), SECRET).lot_sha256 != known.lot_sha256
    elsewhere = provenance_of(make_lot(600, 3, 2), a_lot(), SECRET[::-1])
    assert {elsewhere.lot_sha256, elsewhere.cells_sha256}.isdisjoint({known.lot_sha256, known.cells_sha256})


@pytest.mark.disclosure
def test_withheld_fields_leave_as_null(make_rules: MakeRules, make_report: MakeReport) -> None:
    report = make_report(make_rules(withheld_fields=tuple(OptionalField)), 600, 1, 1, 1, 1)
    assert (report.passage, report.period, report.quality.median_mitochondrial_share) == (None, None, None)


def test_a_potency_that_rounds_to_nothing_is_an_input_error(
    rules: EffectiveRules, make_report: MakeReport, a_measurement: type[Any]
) -> None:
    with pytest.raises(InputError, match="zero at the 1 decimals"):
        make_report(rules, 600, 1, 1, 1, 1, measurement=a_measurement(replicates=(0.04,)))


def test_an_endpoint_or_label_that_cannot_leave_is_an_input_error(
    rules: EffectiveRules, make_report: MakeReport, a_measurement: type[Any], a_lot: type[Any]
) -> None:
    with pytest.raises(InputError, match="no endpoint tnf"):
        make_report(rules, 600, 1, 1, 1, 1, measurement=a_measurement(endpoint="tnf"))
    with pytest.raises(InputError, match="tissue"):
        make_report(rules, 600, 1, 1, 1, 1, lot=a_lot(tissue="x" * 65))


def test_counts_that_do_not_add_up_are_a_fault_of_ours(rules: EffectiveRules, make_report: MakeReport) -> None:
    with pytest.raises(InternalError, match="sum to its cells"):
        make_report(rules, 600, 1, 1, 1, 1, cells_after_qc=605)
    with pytest.raises(InternalError, match="sum to its cells"):
        make_report(rules, 600, -1, 1, 1, 1)
    with pytest.raises(InternalError, match="5 clusters"):
        make_report(rules, 600, 1)

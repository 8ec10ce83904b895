"""No edition holds a lot that its reader may not see: not as a point, a title, a table, a number or a file."""

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.report.edition import FEWEST_UNSEEN_LOTS, Edition, names_one_of
from coordinator.report.page import render_page
from coordinator.study_data import StudyData
from protocol.identifiers import SiteId
from protocol.results import ExcludedLot
from tests.coordinator.report.conftest import Study

pytestmark = pytest.mark.disclosure


def _everything(page: bytes) -> str:
    """The page and, decoded, every file inside it."""
    text = page.decode()
    files = re.findall(r"base64,([A-Za-z0-9+/=]+)", text)
    return "\n".join([text, *(base64.b64decode(content).decode() for content in files)])


def _names_of(data: StudyData, *, site: str, of_site: bool) -> set[str]:
    rows = [row for row, name in enumerate(data.sites) if (name == site) is of_site]
    return {data.lots[row] for row in rows} | {data.donors[row] for row in rows}


@pytest.mark.parametrize("site", ["cord-bank", "east", "north", "south", "west"])
def test_site_edition_holds_no_other_sites_lot_anywhere_in_its_source(suppressed: Study, site: str) -> None:
    source = _everything(render_page(suppressed.report(Edition.of_site(site))))
    hidden = _names_of(suppressed.data, site=site, of_site=False)
    assert [name for name in hidden if name[:6] in source] == []
    excluded = {lot.lot for lot in suppressed.results.lots.excluded if lot.site != site}
    assert [name for name in excluded if name[:6] in source] == []
    assert any(name in source for name in _names_of(suppressed.data, site=site, of_site=True))


def test_public_edition_holds_no_lot_and_names_no_site(suppressed: Study) -> None:
    source = _everything(render_page(suppressed.report(Edition.public())))
    assert [name for name in (*suppressed.data.lots, *suppressed.data.donors) if name[:6] in source] == []
    assert [name for name in set(suppressed.data.sites) if names_one_of(source, [name])] == []


def test_coordinator_edition_holds_every_lot_that_was_used(suppressed: Study) -> None:
    source = _everything(render_page(suppressed.report()))
    assert [lot for lot in suppressed.data.lots if lot not in source] == []


def test_site_edition_does_not_depend_on_the_values_of_other_sites_beyond_aggregates(msc: Study) -> None:
    """Another site's counts, potency and quality may change a site's edition in its averages only."""
    data = msc.data
    others = [row for row, site in enumerate(data.sites) if site != "east"]
    low, high, counts = data.counts_low.copy(), data.counts_high.copy(), data.quality
    assert counts is not None
    for row in others:
        low[row], high[row] = low[row][::-1], high[row][::-1]
    medians = counts.median_counts.copy()
    medians[others] += 17
    changed = replace(data, counts_low=low, counts_high=high, quality=replace(counts, median_counts=medians))
    before = msc.report(Edition.of_site("east"))
    after = replace(msc, data=changed).report(Edition.of_site("east"))
    assert before.endpoints == after.endpoints
    assert before.quality == after.quality
    assert before.downloads == after.downloads
    assert before.composition is not None
    assert after.composition is not None
    own = [bar for bar in before.composition.bars if bar.lot is not None]
    assert own == [bar for bar in after.composition.bars if bar.lot is not None]


def test_remark_that_names_anothers_donor_is_withheld_and_counted(suppressed: Study) -> None:
    donor = suppressed.data.donors[0]
    assert any(donor in remark for remark in suppressed.report().deviations)
    elsewhere = suppressed.report(Edition.of_site("west")).deviations
    assert not any(donor in remark for remark in elsewhere)
    assert any("1 remark is withheld" in remark for remark in elsewhere)


def test_refusal_that_names_anothers_lot_is_withheld(refused: Study) -> None:
    verdict = refused.results.verdicts[0].model_copy(update={"sentence": f"lot {refused.data.lots[0]} is alone"})
    named = replace(refused, results=refused.results.model_copy(update={"verdicts": (verdict,)}))
    page = render_page(named.report(Edition.of_site("west"))).decode()
    assert refused.data.lots[0] not in page
    assert "alpha-unreachable" in page


def test_reason_of_an_excluded_lot_that_names_another_sites_lot_is_withheld(msc: Study) -> None:
    lots = msc.results.lots.model_copy(
        update={
            "excluded": (
                ExcludedLot(lot="aaaaaaaaaaaaaaaa", site=SiteId("west"), code="duplicate",
                            reason=f"the same donor as {msc.data.lots[0]}"),
            )
        }
    )  # fmt: skip
    changed = replace(msc, results=msc.results.model_copy(update={"lots": lots}))
    assert msc.data.lots[0] not in render_page(changed.report(Edition.of_site("west"))).decode()


def test_average_over_too_few_unseen_lots_is_not_shown(msc: Study) -> None:
    data = msc.data
    two_sites = replace(data, sites=tuple("east" if site == "east" else "west" for site in data.sites))
    composition = replace(msc, data=two_sites).report(Edition.of_site("east")).composition
    assert composition is not None
    assert [bar for bar in composition.bars if bar.lot is None] == []


@given(st.lists(st.sampled_from(["a", "b", "c", "own"]), max_size=12))
@settings(max_examples=60)
def test_average_always_stands_on_enough_lots_that_the_reader_does_not_know(sites: list[str]) -> None:
    unseen = [site for site in sites if site != "own"]
    allowed = Edition.of_site("own").may_average(sites)
    if allowed and unseen:
        assert len(unseen) >= FEWEST_UNSEEN_LOTS
        assert len(set(unseen)) > 1
    assert Edition.coordinator().may_average(sites) is bool(sites)


def test_own_lots_are_numbered_without_gaps_that_tell_of_hidden_ones(msc: Study) -> None:
    page = render_page(msc.report(Edition.of_site("south"))).decode()
    numbers = {int(number) for number in re.findall(r'data-lot="(\d+)"', page)}
    assert numbers == set(range(msc.data.sites.count("south")))

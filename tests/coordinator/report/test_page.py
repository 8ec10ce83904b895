"""The page: one file, the same bytes, inert, complete, no address outside itself."""

import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from coordinator.report.edition import Edition
from coordinator.report.model import build_report
from coordinator.report.page import render_page
from coordinator.study_data import PotencyReplicates
from protocol.results import Association, ResultSet
from shared.pages.marks import SITE_COLOURS
from tests.coordinator.report.conftest import Study, msc_study, pbmc_study

_MOST_BYTES = 1_000_000
_MOST_SCRIPT_BYTES = 15_000
_HOSTILE = '</script><img src=x onerror="alert(1)"><b>'


class _Outline(HTMLParser):
    """Collects what a test asks of a page: elements with their attributes, in order."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _between(page: bytes, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page.decode(), flags=re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(scope="module", params=["pbmc", "msc", "suppressed", "refused"])
def study(request: pytest.FixtureRequest) -> Study:
    chosen = request.getfixturevalue(request.param)
    assert isinstance(chosen, Study)
    return chosen


@pytest.fixture(scope="module", params=["coordinator", "site", "public"])
def edition(request: pytest.FixtureRequest, study: Study) -> Edition:
    match request.param:
        case "coordinator":
            return Edition.coordinator()
        case "site":
            return Edition.of_site(study.data.sites[-1])
        case _:
            return Edition.public()


@pytest.fixture(scope="module")
def page(study: Study, edition: Edition) -> bytes:
    return render_page(study.report(edition))


def test_same_study_made_again_gives_the_same_bytes() -> None:
    assert render_page(msc_study().report()) == render_page(msc_study().report())


def test_bytes_do_not_depend_on_the_order_of_sets_in_a_process() -> None:
    code = (
        "import hashlib; from tests.coordinator.report.conftest import suppressed_study as study; "
        "from coordinator.report.edition import Edition; from coordinator.report.page import render_page; "
        "pages = [render_page(study().report(e)) for e in (Edition.coordinator(), Edition.of_site('west'))]; "
        "print(hashlib.sha256(b''.join(pages)).hexdigest())"
    )
    digests = {
        subprocess.run(  # noqa: S603 - our own code, under another hash seed
            (sys.executable, "-c", code),
            capture_output=True,
            check=True,
            cwd=Path(__file__).resolve().parents[3],
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_page_is_small(page: bytes) -> None:
    assert len(page) <= _MOST_BYTES
    assert len(_between(page, "script").encode()) <= _MOST_SCRIPT_BYTES


def test_policy_admits_exactly_the_style_and_the_script_of_the_page(page: bytes) -> None:
    policies = [m["content"] for m in _Outline(page).all_of("meta") if "http-equiv" in m]
    assert len(policies) == 1
    policy = policies[0]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        digest = base64.b64encode(hashlib.sha256(_between(page, tag).encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_page_has_no_inline_style_or_handler_and_no_address_outside_itself(page: bytes) -> None:
    for tag, attributes in _Outline(page).elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:text/csv;", "data:application/json;")), (tag, name)
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.decode())
    assert re.findall(r"https?:|@import|url\((?!#)", text) == []


def test_every_figure_has_title_description_and_a_table_and_is_an_image(page: bytes) -> None:
    figures = re.findall(r"<figure .*?</figure>", page.decode(), flags=re.DOTALL)
    assert figures
    for figure in figures:
        assert "<table" in figure
        drawings = re.findall(r"<svg id=.*?</svg>", figure, flags=re.DOTALL)
        assert drawings
        for source in drawings:
            svg = ET.fromstring(source)  # noqa: S314 - our own output
            assert svg.get("role") == "img"
            named = {child.get("id"): child.text for child in svg if child.tag in {"title", "desc"}}
            labels = (svg.get("aria-labelledby") or "").split()
            assert len(labels) == 2
            assert all((named[label] or "").strip() for label in labels)


def test_identifiers_are_unique_and_every_link_within_the_page_leads_somewhere(page: bytes) -> None:
    outline = _Outline(page)
    identifiers = [attributes["id"] for _, attributes in outline.elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))
    targets = {link["href"] for link in outline.all_of("a") if (link.get("href") or "").startswith("#")}
    assert {target for target in targets if target and target[1:] not in identifiers} == set()


def test_findings_and_figures_are_numbered_in_reading_order(page: bytes) -> None:
    text = page.decode()
    findings = [int(number) for number in re.findall(r'id="finding-(\d+)"', text)]
    assert findings == list(range(1, len(findings) + 1))
    figures = [int(number) for number in re.findall(r'<figure id="figure-(\d+)"', text)]
    assert figures == list(range(1, len(figures) + 1))


def test_table_rows_have_as_many_cells_as_headings(page: bytes) -> None:
    for table in re.findall(r"<table.*?</table>", page.decode(), flags=re.DOTALL):
        head, *rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
        assert rows
        width = head.count("<th ")
        assert {len(re.findall(r"<t[hd][ >]", row)) for row in rows} == {width}


def _renamed(study: Study, name: str) -> Study:
    old = study.data.clusters[3]
    results = study.results
    document = results.model_dump(mode="json")
    text = json.dumps(document).replace(json.dumps(old), json.dumps(name))
    clusters = tuple(name if cluster == old else cluster for cluster in study.data.clusters)
    hostile = ResultSet.model_validate_json(text).model_copy(
        update={"warnings": (name,), "study": results.study.model_copy(update={"title": name, "question": name})}
    )
    lots = (name, *study.data.lots[1:])
    sites = tuple(name if site == "west" else site for site in study.data.sites)
    return replace(
        study,
        results=hostile,
        data=replace(study.data, clusters=clusters, lots=lots, sites=sites, tissues=(name,) * len(lots)),
    )


def test_hostile_names_are_text_and_nothing_else() -> None:
    study = msc_study()
    plain, hostile = (render_page(_renamed(study, name).report()) for name in ("plain name", _HOSTILE))
    outline = _Outline(hostile)
    assert outline.all_of("img") == []
    assert outline.all_of("b") == []
    assert len(outline.all_of("script")) == 1
    assert {tag for tag, _ in outline.elements} == {tag for tag, _ in _Outline(plain).elements}
    for tag in ("meta", "section", "figure", "table", "tr", "td", "th", "p", "li", "a", "svg", "path"):
        assert len(outline.all_of(tag)) == len(_Outline(plain).all_of(tag)), tag
    assert "&lt;/script&gt;&lt;img" in hostile.decode()


def test_formula_in_a_name_is_plain_text_to_a_spreadsheet() -> None:
    report = _renamed(msc_study(), "=HYPERLINK(1)").report()
    for file in report.downloads:
        if file.media_type == "text/csv":
            assert not re.search(r'(^|,)"?=HYPERLINK', file.content, flags=re.MULTILINE)
            assert "'=HYPERLINK(1)" in file.content


def test_suppressed_count_is_minus_the_threshold_in_the_file_beside_its_bounds(suppressed: Study) -> None:
    file = next(file for file in suppressed.report().downloads if file.filename.endswith("lots.csv"))
    rows = list(csv.DictReader(file.content.splitlines()))
    small = [row for row in rows if row["cells_high"] == "4"]
    assert small
    assert {(row["cells"], row["cells_low"]) for row in small} == {("-5", "0")}
    wide = [row for row in rows if row["cells_low"] != row["cells_high"] and row["cells_low"] != "0"]
    assert wide
    assert {row["cells"] for row in wide} == {""}


def test_files_hold_the_same_numbers_as_the_results(msc: Study) -> None:
    files = {file.filename.rsplit("-", 1)[-1]: file.content for file in msc.report().downloads}
    rows = list(csv.DictReader(files["associations.csv"].splitlines()))
    assert [float(row["rho"]) for row in rows] == [row.rho for row in msc.results.associations]
    assert ResultSet.model_validate_json(files["coordinator.json"]) == msc.results


@pytest.mark.parametrize(("n", "k"), [(250, 13), (2_000, 30)])
def test_many_lots_and_clusters_still_fit_into_the_bound(n: int, k: int) -> None:
    study = pbmc_study()
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 400, (n, k))
    totals = counts.sum(axis=1)
    names = tuple(f"cluster type {index}" for index in range(k))
    data = replace(
        study.data,
        lots=tuple(rng.bytes(8).hex() for _ in range(n)),
        sites=tuple(f"site-{row * 40 // n:02d}" for row in range(n)),
        donors=tuple(rng.bytes(8).hex() for _ in range(n)),
        tissues=("blood",) * n,
        cohorts=("discovery",) * n,
        clusters=names,
        counts_low=counts,
        counts_high=counts,
        unassigned_low=np.zeros(n, dtype=np.int64),
        unassigned_high=np.zeros(n, dtype=np.int64),
        totals_low=totals,
        totals_high=totals,
        potency={"cxcl10": PotencyReplicates(
            runs=tuple((("r", (float(value),), ()),) for value in rng.uniform(1, 9, n)))},
    )  # fmt: skip
    row = study.results.associations[0]
    associations: tuple[Association, ...] = tuple(
        row.model_copy(update={"cluster": name, "significant": index < 5}) for index, name in enumerate(names)
    )
    lots = study.results.lots.model_copy(update={"n": n, "n_units": n, "sites": 40})
    results = study.results.model_copy(update={"associations": associations, "lots": lots})
    page = render_page(build_report(results, data, edition=Edition.coordinator()))
    assert len(page) <= _MOST_BYTES
    text = page.decode()
    assert "means are drawn" in text
    assert "too many for a file" in text
    assert text.count("M") > n  # each lot is still a mark of its own in the scatter


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", SITE_COLOURS)
def test_every_site_colour_has_three_to_one_on_white(colour: str) -> None:
    """WCAG 2.2, success criterion 1.4.11."""
    assert 1.05 / (_luminance(colour) + 0.05) >= 3


def test_style_sheet_draws_the_site_colours() -> None:
    style = (files("shared.pages") / "templates" / "page.css").read_text()
    for index, colour in enumerate(SITE_COLOURS):
        assert f".site-{index} {{ fill: {colour}; }}" in style

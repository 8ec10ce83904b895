"""The qualification page in a real Chromium: one A4 sheet, nothing refused, nothing wider than the paper."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.print_page_options import PrintOptions

from protocol.modules.markers import MarkerPredictor
from protocol.modules.specification_results import SpecificationOutcome
from site_agent.qualification.judgement import judge_lot
from site_agent.qualification.page import render_qualification
from site_agent.qualification.qualification_view import LotCard, qualification_view
from tests.chromium import chromium, console_of
from tests.site_agent.qualification.specifications import digest, make_facts, make_specification
from tests.site_agent.qualification.test_records import make_record

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("share", [0.41, 0.2, 0.9])
@pytest.mark.parametrize(
    "basis",
    [
        {"declared": False},
        {
            "cluster": None,
            "marker": MarkerPredictor(gene="LRRC75A", cluster="beta", threshold=2.3),
            "marker_minimum_cells": 20,
            "outcome": SpecificationOutcome.INDICATIVE,
            "doubts": ("sites (or tissues) differ in potency at the same share: what holds here may not elsewhere",),
        },
    ],
    ids=["cluster", "marker"],
)
def test_page_prints_on_one_sheet_and_loads_nothing(tmp_path: Path, share: float, basis: dict[str, Any]) -> None:
    specification = make_specification(**basis)
    facts = make_facts(share=share, doubts=("cells of alpha, beta, gamma lie more than 2 times as far " * 3,))
    view = qualification_view(
        LotCard(lot="A lot", made="2026-11-20", product="MSC, passage 5", file="a.h5ad", cells_sha256="e" * 64),
        facts,
        judge_lot(facts, specification),
        specification,
        [make_record(f"L{number}", share=0.3 + 0.01 * number) for number in range(20)],
        specification_sha256=digest(specification),
        record_sha256="f" * 64,
        signer="d" * 64,
    )
    path = tmp_path / "page.html"
    path.write_bytes(render_qualification(view))
    with chromium(tmp_path / "profile") as browser:
        browser.get(path.as_uri())
        assert console_of(browser) == []
        assert view.word in browser.find_element("css selector", ".large").text
        options = PrintOptions()
        options.set_page_size(PrintOptions.A4)
        pdf = base64.b64decode(browser.print_page(options))
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1

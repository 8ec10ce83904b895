"""The page: one inert file, the same bytes, the map from means and covariances only, bounded in size."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest

from shared.atlas.artefact import Atlas, to_bytes
from shared.atlas.card import Card
from shared.drawing.security import content_security_policy
from shared.drawing.svg import text_width
from shared.pages.rendering import STYLE_SHEET, shared_template
from site_agent.atlas_show.map_drawing import map_drawing
from site_agent.atlas_show.page import render_page
from tests.site_agent.atlas_show.conftest import HOSTILE, SECRET_LOTS, renamed, viewed

_MOST_BYTES = 1_000_000
_ROOT = Path(__file__).resolve().parents[3]


class _Outline(HTMLParser):
    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)


def test_the_same_atlas_gives_the_same_page_in_another_process(three: Atlas, tmp_path: Path) -> None:
    path, out = tmp_path / "a.atlas", tmp_path / "other.html"
    path.write_bytes(to_bytes(three))
    command = [sys.executable, "-c", "from site_agent.cli import main; main()", "atlas", "show", str(path)]
    done = subprocess.run(  # noqa: S603 - this interpreter, our own command
        [*command, "--page", str(out)], cwd=_ROOT, capture_output=True, text=True, check=False,
        env={"PYTHONHASHSEED": "77", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == render_page(viewed(three))


@pytest.mark.parametrize("lots", ["one", "two", "three"])
def test_hostile_names_are_inert_and_nothing_is_fetched(lots: str, request: pytest.FixtureRequest) -> None:
    page = render_page(viewed(renamed(request.getfixturevalue(lots), HOSTILE)))
    outline = _Outline(page)
    assert {"script", "img", "link", "iframe", "object", "form"}.isdisjoint(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name in {"src", "style"}]
    assert all(value and value.startswith("#") for name, value in outline.attributes if name == "href")


def test_the_policy_admits_the_pages_own_style_and_no_script(three: Atlas) -> None:
    page = render_page(viewed(three))
    own = (files("site_agent.atlas_show") / "templates" / "atlas.css").read_text(encoding="utf-8")
    style = shared_template(STYLE_SHEET) + own
    assert f"<style>{style}</style>" in page.decode()
    assert content_security_policy(style=style).replace("'", "&#39;") in page.decode()
    assert "script-src" not in page.decode()
    assert set(re.findall(r"url\((.)", style)) <= {"#"}
    assert "@import" not in style


def test_no_lots_own_name_and_no_path_is_on_the_page(three: Atlas) -> None:
    text = render_page(viewed(three)).decode()
    assert not [name for name in SECRET_LOTS if name in text]
    assert "/tmp/" not in text  # noqa: S108 - looked for, not used


@pytest.mark.parametrize(("lots", "word"), [("one", "not-measured"), ("two", "with-care"), ("three", "transfers-well")])
def test_the_verdict_stands_before_everything_else(lots: str, word: str, request: pytest.FixtureRequest) -> None:
    text = render_page(viewed(request.getfixturevalue(lots))).decode()
    assert re.findall(r'<section class="verdict ([a-z-]+)"', text) == [word]
    assert text.index('<section class="verdict') < text.index("<table")


def test_the_page_of_one_lot_says_what_its_confusion_is_not(one: Atlas, three: Atlas) -> None:
    sentence = "this says nothing of another lot"
    assert sentence in render_page(viewed(one)).decode()
    assert sentence not in render_page(viewed(three)).decode()


def _map(atlas: Atlas) -> ET.Element:
    return ET.fromstring(map_drawing(viewed(atlas).classes, title="t", description="d"))  # noqa: S314 - our own text


def test_the_map_has_one_mean_one_ellipse_and_one_name_a_class(three: Atlas) -> None:
    drawn = _map(three)
    assert len(drawn.findall(".//ellipse")) == len(three.clusters)
    assert len(drawn.findall(".//circle")) == len(three.clusters)
    names = [each.text for each in drawn.iter("text") if "halo" in (each.get("class") or "")]
    assert names == list(three.clusters)


def test_the_map_keeps_distances_in_every_direction(three: Atlas) -> None:
    drawn = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in _map(three).iter("circle")]
    true = three.class_means.astype(float) @ three.map_axes.astype(float)
    pixels, units = np.array(drawn), true * [1, -1]
    a, b = (
        np.linalg.norm(each[:, None] - each[None], axis=2)[np.triu_indices(len(true), 1)] for each in (pixels, units)
    )
    ratio = a / b
    assert np.ptp(ratio) / ratio.mean() < 0.01  # coordinates have one decimal


def test_names_on_the_map_cover_neither_each_other_nor_leave_it(three: Atlas) -> None:
    close = replace(three, class_means=(three.class_means * np.float32(0.02)).astype(np.float32))
    drawn = _map(close)
    named = [each for each in drawn.iter("text") if "halo" in (each.get("class") or "")]
    places = [(float(each.attrib["x"]), float(each.attrib["y"])) for each in named]
    for (x, y), (other_x, other_y) in combinations(places, 2):
        assert abs(y - other_y) > 13 or abs(x - other_x) > text_width("kind 0", 12.5)
    assert all(10 < y < float(drawn.attrib["height"]) for _, y in places)


def test_a_map_without_any_extent_is_still_drawn(three: Atlas) -> None:
    flat = replace(
        three, class_means=np.zeros_like(three.class_means), map_covariances=np.zeros_like(three.map_covariances)
    )
    assert all(np.isfinite(float(each.attrib["cx"])) for each in _map(flat).iter("ellipse"))


def test_the_largest_numbers_of_the_format_are_drawn_within_the_frame(three: Atlas) -> None:
    rng = np.random.default_rng(5)
    extreme = replace(
        three,
        class_means=rng.choice([-1e6, 1e6], three.class_means.shape).astype(np.float32),
        map_axes=np.full_like(three.map_axes, 1e6),
        map_covariances=rng.choice([-1e6, 0.0, 1e6], three.map_covariances.shape).astype(np.float32),
    )
    drawn = _map(extreme)
    assert all(0 <= float(each.attrib["cx"]) <= 860 for each in drawn.iter("ellipse"))
    assert render_page(viewed(extreme)).endswith(b"</html>")


def _huge(atlas: Atlas, n_clusters: int, n_lots: int) -> Atlas:
    """Return an atlas with as many classes, lots and markers as a hostile file may have; only its card is real."""
    name, card = "\u202e" * 55, msgspec.to_builtins(atlas.card)
    marker = {"gene": name, "log2_fold_change": 1.0, "share_in": 1.0, "share_out": 0.0}
    card |= {
        "clusters": tuple(f"{name}{place:03}" for place in range(n_clusters)),
        "markers": ((marker,) * 50,) * n_clusters,
        "stability": None,
        "dropped": tuple({"cluster": name, "cells": 1, "reason": name} for _ in range(2_000)),
    }

    def tiled(array: np.ndarray) -> np.ndarray:
        return np.resize(array, (n_clusters, *array.shape[1:]))

    grown = {
        name: tiled(getattr(atlas, name))
        for name in (
            "intercepts", "novelty_thresholds", "unassigned_rates", "share_errors", "interval_scales", "class_means",
            "class_spreads", "lot_shifts", "map_covariances",
        )
    }  # fmt: skip
    return replace(
        atlas,
        card=msgspec.convert(card, Card),
        coefficients=np.resize(atlas.coefficients, (atlas.weights.shape[1], n_clusters)),
        confusion=np.ones((n_clusters, n_clusters + 1), dtype=np.int32),
        cells=np.ones((n_clusters, n_lots), dtype=np.int32),
        **grown,
    )


def test_the_largest_atlas_still_gives_a_page_of_bounded_size(three: Atlas) -> None:
    page = render_page(viewed(_huge(three, 256, 500)))
    assert len(page) < 3 * _MOST_BYTES  # every character of every name is written as a code of six
    assert "the whole matrix is not drawn" in page.decode()
    assert len(render_page(viewed(three))) < _MOST_BYTES / 10

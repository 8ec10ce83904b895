"""Writing an outcome: ``results.json`` and ``report.html``, the same bytes for the same outcome."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.analyse_command import Outcome
from coordinator.report.edition import Edition
from coordinator.report.model import Bundle, build_report
from coordinator.report.page import render_page
from protocol.codec import sha256
from protocol.results import ResultSet
from shared.errors import InputError
from shared.runtime.files import write_atomically

RESULTS_FILE = "results.json"
REPORT_FILE = "report.html"


def results_json(results: ResultSet) -> bytes:
    """Return the results as indented JSON for people and scripts; keys in the model's order."""
    return (json.dumps(results.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def report_html(outcome: Outcome, edition: Edition) -> bytes:
    """Return the study report as one self-contained page."""
    bundle = Bundle(validation_cohorts=outcome.validation_cohorts, results_sha256=sha256(results_json(outcome.results)))
    return render_page(build_report(outcome.results, outcome.data, edition=edition, bundle=bundle))


def headline(results: ResultSet) -> Mapping[str, Any]:
    """Return the findings' headline for scripts, the same of every edition: verdicts, and modules' outcomes."""
    comparison = None if results.comparability is None else results.comparability.findings
    return {
        "study": results.study.study,
        "results_sha256": sha256(results_json(results)),
        "verdicts": [verdict.model_dump(mode="json") for verdict in results.verdicts],
        "modules": {
            name: {"outcome": found.outcome.value, "sentence": found.sentence}
            for name, found in (("comparability", comparison), ("specification", results.specification))
            if found is not None
        },
    }


def edition_named(name: str, outcome: Outcome) -> Edition:
    """Return the edition that ``coordinator``, ``public`` or a site's name asks for.

    Raises
    ------
    InputError
        The study has no lots of such a site.
    """
    match name:
        case "coordinator":
            return Edition.coordinator()
        case "public":
            return Edition.public()
        case _ if name in outcome.data.sites:
            return Edition.of_site(name)
        case _:
            sites = ", ".join(sorted(set(outcome.data.sites)))
            raise InputError(f"--edition: expected coordinator, public, or one of {sites}, found {name!r}")


def write_outcome(outcome: Outcome, out: Path) -> None:
    """Write both files into ``out``; both are made before the first is written."""
    results, report = results_json(outcome.results), report_html(outcome, Edition.coordinator())
    write_atomically(out / RESULTS_FILE, results)
    write_atomically(out / REPORT_FILE, report)

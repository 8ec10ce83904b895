"""What a run's user sees on the terminal."""

from pathlib import Path

import click

from coordinator.analysis_commands import fail_if_unanswered, show_results
from protocol.results import Parity
from shared.runtime.console import remark
from simulations.experiment import RunOutcome


def show_run(run: RunOutcome, out: Path, *, as_json: bool) -> None:
    """Print the answer to stdout and where everything lies to stderr."""
    results = run.outcome.results
    show_results(results, as_json=as_json)
    parity = results.parity
    if parity is not None and not as_json:
        click.echo(
            f"Federated against pooled: counts differ by at most {parity.max_abs_count_difference} cells, "
            f"rho by at most {parity.max_abs_rho_difference:.1e}; "
            f"the ranking is {'the same' if parity.same_ranking else 'NOT the same'}.{_markers(parity)}{_arms(parity)}"
        )
    for site, sent in run.bytes_sent.items():
        remark(f"{site}: {sent} bytes left, exactly those in {out / 'sites' / site / 'sent'}")
    remark(f"report: {out / 'report.html'}")
    remark(f"results: {out / 'results.json'}")
    fail_if_unanswered(results)


def _arms(parity: Parity) -> str:
    largest = parity.max_abs_arms_difference
    return "" if largest is None else f" Intervals of the two arms differ by at most {largest:.1e} in ln."


def _markers(parity: Parity) -> str:
    largest = parity.max_relative_marker_difference
    return "" if largest is None else f" Moments of markers differ by at most {largest:.1e} of themselves."

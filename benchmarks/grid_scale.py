"""How a study grows with its sites where one process carries it: time and memory up to 1,000 sites.

``python -m benchmarks.grid_scale [--sites 10 100 1000]``

Real agents over lots without cells (three lots a site), real signatures, every message through Flower's wire encoding
(``simulations.grid``); no network, so that what is left is the cost of the messages and the rules themselves. Each
number of sites runs in a process of its own, whose peak of memory is told.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np

from coordinator.analyse_command import analyse_reports, verified_reports
from coordinator.network.flower_app import CollectionRun, collect_round
from coordinator.store import MemoryStore
from protocol.identifiers import SiteId
from protocol.policy import EffectiveRules, write_policy
from simulations.grid import InProcessGrid
from site_agent.agent import ReportSource
from site_agent.network.flower_app import make_client_app
from site_agent.release.offers import Offer
from tests.study_parts import (
    COORDINATOR,
    Site,
    believed,
    fresh_nonce,
    make_plan,
    make_policy,
    make_report,
    make_roster,
)

COLUMNS = ("sites", "reports", "collecting", "each site", "verifying anew", "analysing", "peak of memory")


def drawn_lots(site: SiteId, rng: np.random.Generator) -> ReportSource:
    """Return a source of three reports whose potency follows the share of a cluster, with noise."""
    shares = rng.dirichlet((6, 3, 1), size=3)
    counts = {f"{site}-{place}": rng.multinomial(1_000, shares[place]).tolist() for place in range(3)}
    potency = {
        lot: round(float(500 + 400 * share + rng.normal(0, 60)), 1)
        for lot, share in zip(counts, shares[:, 0], strict=True)
    }

    def reports(rules: EffectiveRules) -> list[Offer]:
        return [Offer(report=make_report(rules, lot, counts[lot], potency=potency[lot])) for lot in counts]

    return reports


def measure(n_sites: int) -> str:
    """Return one row of the table: a study of so many sites, collected, verified and analysed."""
    sites = tuple(SiteId(f"site-{number:04d}") for number in range(n_sites))
    plan, now = make_plan(sites=sites), datetime(2026, 11, 20, 9, tzinfo=UTC)
    rng = np.random.default_rng(7)
    apps = {
        node: make_client_app(
            Site(drawn_lots(site, rng), write_policy(make_policy(site)), site).agent, clock=lambda: now, log=sys.exit
        )
        for node, site in enumerate(sites, start=1)
    }
    store, roster = MemoryStore(), make_roster(plan)
    run = CollectionRun(
        study=believed(plan),
        roster=roster,
        key=COORDINATOR,
        store=store,
        nodes={site: node for node, site in enumerate(sites, start=1)},
        clock=lambda: now,
        nonce=fresh_nonce,
        log=lambda _line: None,
    )
    at = [time.process_time()]
    collect_round(run, InProcessGrid(apps))
    at.append(time.process_time())
    kept = store.reports(plan.study)
    reports = verified_reports(believed(plan), roster, [(each.digest, each.envelope) for each in kept])
    at.append(time.process_time())
    analyse_reports(believed(plan), reports)
    at.append(time.process_time())
    collecting, verifying, analysing = (later - earlier for earlier, later in itertools.pairwise(at))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cells = (
        str(n_sites),
        str(len(reports)),
        f"{collecting:.1f} s",
        f"{1_000 * collecting / n_sites:.1f} ms",
        f"{verifying:.1f} s",
        f"{analysing:.1f} s",
        f"{peak:.0f} MB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure each number of sites in a process of its own, and print a table; times are processor seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[10, 50, 100, 200, 500, 1_000])
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row is not None:
        print(measure(given.row))
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    for n_sites in given.sites:
        argv = [sys.executable, "-m", "benchmarks.grid_scale", "--row", str(n_sites)]
        subprocess.run(argv, env=one_thread, check=True)  # noqa: S603 - an argument vector of our own


if __name__ == "__main__":
    main()

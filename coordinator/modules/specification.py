"""The specification of a study: which share of a cluster, or of marker-high cells, a lot needs, and how sure that is.

Rules
-----
1. The share is that of the plan's marker predictor or cluster, or else of the lead that discovery found; where it found
   none there is no specification. The side is that of the discovered association: more of the share where potency rises
   with it, less where it falls.
2. The units are discovery's (donors). Sites are pooled: potency is relative to the run's reference where the plan says
   so, and what still parts the sites at the same share widens the bound. Where it parts them visibly, that is a doubt.
3. A suppressed count is an interval. The threshold is the strictest of four readings: all at the middle, all low, all
   high, and those that weaken the association most; where one of them has none, there is none.
4. How many units pass and suffice is told only where 5 units of 2 sites, or more, stay unknown to each site that reads.
5. Fewer than 30 units, sites that differ, a curve where a line was fitted, or shares of much noise: a threshold is then
   indicative only.
6. What is compared is what is printed: the threshold is rounded to three digits, to the stricter side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan, log, log10
from typing import Final

import numpy as np

from coordinator.modules.specification_question import Question, threshold_text
from coordinator.modules.specification_shares import LotShares, UnitShares, shares_of_cluster, shares_of_marker
from coordinator.noise import SMALL_PART_OF_VARIANCE, noise_part_of_variance
from coordinator.report.edition import Edition
from coordinator.study_data import FloatArray, StudyData
from coordinator.units import Units, rows_of_cohorts, units_of
from protocol.modules.markers_results import MarkerPredictorRow
from protocol.modules.specification_results import (
    DecisionCounts,
    FittedLine,
    RateRange,
    ShareRange,
    Side,
    SpecificationOutcome,
    SpecificationResults,
)
from protocol.plan import Cohort, CohortRole
from protocol.results import Association
from shared.errors import DesignError
from shared.statistics.specification import (
    FEWEST_FOR_A_SPECIFICATION,
    Line,
    fit_line,
    p_of_curvature,
    p_of_groups,
    rates_of,
    resample,
    threshold_of,
    tolerance_factor,
    upper_share_bound,
)
from shared.statistics.streams import named_seed

RESAMPLES: Final = 2_000
_MIDDLE: Final = (2.5, 97.5)
_SOUND: Final = 0.99
_DOUBT: Final = 0.01  # one data set in a hundred is doubted for nothing, by each check
_THRESHOLD_DIGITS: Final = 3
_RANGE_DIGITS: Final = 2
_KEPT_DIGITS: Final = 10


def specify(
    data: StudyData,
    question: Question,
    associations: Sequence[Association],
    predictors: Sequence[MarkerPredictorRow] = (),
) -> SpecificationResults:
    """Return the specification that the discovery's lots bear out, or why there is none.

    Parameters
    ----------
    data : StudyData
        All lots.
    question : Question
        What is asked.
    associations : sequence of Association
        Of the discovery, best first.
    predictors : sequence of MarkerPredictorRow
        Of the discovery, too.
    """
    own = [row for row in associations if row.endpoint == question.endpoint.endpoint]
    lead = next((row.cluster for row in own if row.significant), None)
    cluster, marker = question.asked.cluster or lead, question.marker
    if marker is not None and question.markers is not None:
        shares = shares_of_marker(data, marker, minimum_cells=question.markers.minimum_cells)
        of_endpoint = [row for row in predictors if row.endpoint == question.endpoint.endpoint]
        rhos = [row.rho for row in of_endpoint if (row.gene, row.cluster) == (marker.gene, marker.cluster)]
    elif cluster is not None:
        shares = shares_of_cluster(data, cluster)
        rhos = [row.rho for row in own if row.cluster == cluster]
    else:
        return _none(question, "no-cluster", "the discovery found no cluster whose share follows potency")
    discovery = [cohort for cohort in question.cohorts if cohort.role is CohortRole.DISCOVERY]
    units, without = _units(data, question, discovery, shares)
    found = _Found(
        question=question,
        shares=shares,
        units=units,
        lots_without=without,
        readings=shares.of_units(units),
        unassigned_limit=_unassigned_limit(data, units),
    )
    try:
        line = fit_line(found.readings.middle, units.potency)
    except DesignError as error:
        return found.none(error.code, str(error))
    rho = next(iter(rhos), None)
    return found.threshold(data, line, rises=line.slope > 0 if rho is None else rho > 0)


def _units(
    data: StudyData, question: Question, cohorts: Sequence[Cohort], shares: LotShares, tissues: Sequence[str] = ()
) -> tuple[Units, int]:
    """Return the units of the lots that have the share, of ``tissues`` or of all; and how many lots have none."""
    rows, _ = rows_of_cohorts(data, cohorts)
    rows = [row for row in rows if not tissues or data.tissues[row] in tissues]
    known = [row for row in rows if shares.known[row]]
    units, _ = units_of(data, known, question.endpoint, question.analysis.strata, ())
    return units, len(rows) - len(known)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What is known once the share is."""

    question: Question
    shares: LotShares
    units: Units
    lots_without: int
    readings: UnitShares
    unassigned_limit: float | None

    def none(
        self, code: str, why: str, line: Line | None = None, seen: ShareRange | None = None
    ) -> SpecificationResults:
        return _none(self.question, code, why).model_copy(
            update={
                "line": None if line is None else _kept_line(line),
                "seen": seen,
                **self._over(),
            }
        )

    def threshold(self, data: StudyData, line: Line, *, rises: bool) -> SpecificationResults:
        """Return the threshold with its rates, or why there is none."""
        asked, units, shares = self.question.asked, self.units, self.readings.middle
        limit, confidence = log(asked.limit), asked.confidence
        low = _rounded(float(shares.min()), _RANGE_DIGITS, up=True)
        high = _rounded(float(shares.max()), _RANGE_DIGITS, up=False)
        if low >= high:
            return self.none("no-variation", f"the lots' shares of {self.shares.name} hardly differ", line)
        seen = ShareRange(low=low, high=high)
        strictest, reason = self._strictest(limit, low, high, rises=rises)
        if isnan(strictest):
            return self.none(reason, self._why(reason, seen, rises=rises), line, seen)
        rates = rates_of(line, shares, strictest, limit, rises=rises)
        again = resample(
            shares,
            units.potency,
            strictest,
            limit,
            confidence=confidence,
            rises=rises,
            draws=RESAMPLES,
            entropy=named_seed(self.question.analysis.seed, asked.endpoint, self.shares.name, "specification"),
        )
        doubts = self._doubts(data, shares)
        outcome = SpecificationOutcome.INDICATIVE if doubts else SpecificationOutcome.THRESHOLD
        factor = tolerance_factor(line.n) * float(shares.std(ddof=1))
        thresholds = _middle(again.thresholds)
        return SpecificationResults(
            endpoint=asked.endpoint,
            limit=asked.limit,
            confidence=confidence,
            declared=self.question.declared,
            outcome=outcome,
            sentence=self._sentence(outcome, strictest, rises=rises),
            doubts=doubts,
            side=Side.AT_LEAST if rises else Side.AT_MOST,
            threshold=strictest,
            threshold_low=thresholds[0],
            threshold_high=thresholds[1],
            resamples=RESAMPLES,
            resamples_without=again.without_threshold,
            seen=seen,
            line=_kept_line(line),
            false_pass=_rate(rates.false_pass, again.false_pass),
            false_fail=_rate(rates.false_fail, again.false_fail),
            passing=_kept(rates.passing),
            share_tolerance=_kept(line.share_mean - factor if rises else line.share_mean + factor),
            discovery=_counts(units, shares, strictest, limit, rises=rises),
            validation=self._validation(data, strictest, limit, rises=rises),
        ).model_copy(update=self._over())

    def _over(self) -> dict[str, object]:
        units = self.units
        markers = self.question.markers
        return {
            "cluster": self.shares.cluster,
            "marker": self.shares.marker,
            "marker_minimum_cells": 0 if self.shares.marker is None or markers is None else markers.minimum_cells,
            "n_lots": units.n_lots,
            "n_units": len(units.lots),
            "n_sites": len(set(units.sites)),
            "tissues": tuple(sorted(set(units.tissues))),
            "suppressed_lots": self.readings.suppressed_lots,
            "lots_without": self.lots_without,
            "unassigned_limit": self.unassigned_limit,
        }

    def _strictest(self, limit: float, low: float, high: float, *, rises: bool) -> tuple[float, str]:
        """Return the strictest threshold of all readings, rounded; or NaN and the reason why there is none."""
        confidence = self.question.asked.confidence
        found = []
        for shares in self.readings.readings(self.units.potency, rises=rises):
            if np.ptp(shares) == 0:
                return float("nan"), "no-variation"
            line = fit_line(shares, self.units.potency)
            exact = threshold_of(line, limit, low=low, high=high, confidence=confidence, rises=rises)
            rounded = exact if isnan(exact) else _rounded(exact, _THRESHOLD_DIGITS, up=rises)
            if isnan(rounded) or not low <= rounded <= high:
                # With no end to the range only the slope can stand in the way.
                free = threshold_of(line, limit, low=-np.inf, high=np.inf, confidence=confidence, rises=rises)
                return float("nan"), "no-slope" if isnan(free) else "limit-not-reached"
            found.append(rounded)
        return (max(found) if rises else min(found)), ""

    def _why(self, reason: str, seen: ShareRange, *, rises: bool) -> str:
        if reason == "limit-not-reached":
            return (
                f"within the shares seen ({threshold_text(seen.low)} to {threshold_text(seen.high)}) no lot of so "
                f"{'large' if rises else 'small'} a share of {self.shares.name} can be expected, with "
                f"{self.question.asked.confidence:.0%} confidence, to reach {self.question.limit_text}"
            )
        if reason == "no-variation":
            return f"with suppressed counts the lots' shares of {self.shares.name} may all be equal"
        return (
            f"the share of {self.shares.name} is not shown to predict the potency of a lot: the slope's own "
            f"{self.question.asked.confidence:.0%} bound holds 0"
        )

    def _doubts(self, data: StudyData, shares: FloatArray) -> tuple[str, ...]:
        units = self.units
        doubts = []
        if len(units.lots) < FEWEST_FOR_A_SPECIFICATION:
            doubts.append(
                f"it rests on {len(units.lots)} donors; a specification needs at least {FEWEST_FOR_A_SPECIFICATION}"
            )
        groups = np.unique(
            [f"{site} / {tissue}" for site, tissue in zip(units.sites, units.tissues, strict=True)], return_inverse=True
        )[1]
        if p_of_groups(shares, units.potency, groups) < _DOUBT:
            doubts.append(
                "sites (or tissues) differ in potency at the same share: what holds for these may not hold for another"
            )
        if p_of_curvature(shares, units.potency) < _DOUBT:
            doubts.append("log potency follows the share along a curve, not the straight line that was fitted")
        column = self.shares.column
        noise = 0.0 if column is None else noise_part_of_variance(data, units, column, shares)
        if noise > SMALL_PART_OF_VARIANCE:
            doubts.append(
                f"noise that sites put on counts makes up {noise:.0%} of the variance of the lots' shares: the line is "
                "too flat for a lot that is counted exactly, and neither threshold nor error rates account for it"
            )
        return tuple(doubts)

    def _sentence(self, outcome: SpecificationOutcome, threshold: float, *, rises: bool) -> str:
        what = (
            f"at {'least' if rises else 'most'} {threshold_text(threshold)} {self.shares.counted_text} predicts a "
            f"potency of at least {self.question.limit_text} with {self.question.asked.confidence:.0%} confidence"
        )
        if outcome is SpecificationOutcome.INDICATIVE:
            return f"Indicative, not a specification: {what}."
        return f"{what[0].upper()}{what[1:]}."

    def _validation(self, data: StudyData, threshold: float, limit: float, *, rises: bool) -> DecisionCounts | None:
        """Return what becomes of the validation lots of the tissues that the threshold speaks for."""
        cohorts = [cohort for cohort in self.question.cohorts if cohort.role is CohortRole.VALIDATION]
        new, _ = _units(data, self.question, cohorts, self.shares, self.units.tissues)
        if not new.lots:
            return None
        return _counts(new, self.shares.of_units(new).middle, threshold, limit, rises=rises)


def _unassigned_limit(data: StudyData, units: Units) -> float | None:
    """Return what share of unassigned cells the study's lots hardly ever exceed: beyond it a lot is of another kind."""
    if not data.counted:
        return None
    rows = units.rows
    cells = (data.unassigned_low[rows] + data.unassigned_high[rows]) / 2.0
    totals = (data.totals_low[rows] + data.totals_high[rows]) / 2.0
    bound = upper_share_bound(cells, totals, confidence=_SOUND)
    return None if isnan(bound) else _rounded(bound, _RANGE_DIGITS, up=True)


def _none(question: Question, code: str, why: str) -> SpecificationResults:
    return SpecificationResults(
        endpoint=question.asked.endpoint,
        limit=question.asked.limit,
        confidence=question.asked.confidence,
        declared=question.declared,
        outcome=SpecificationOutcome.NONE,
        reason_code=code,
        sentence=f"No specification exists: {why}.",
    )


def _counts(units: Units, shares: FloatArray, threshold: float, limit: float, *, rises: bool) -> DecisionCounts | None:
    """Return what becomes of units, unless their number would tell a site how good another site's lots are."""
    if not all(edition.may_average(units.sites) for edition in (Edition.public(), *map(Edition.of_site, units.sites))):
        return None
    potency = units.potency
    passed = shares >= threshold if rises else shares <= threshold
    sufficient = potency >= limit
    return DecisionCounts(
        passed_sufficient=int((passed & sufficient).sum()),
        passed_insufficient=int((passed & ~sufficient).sum()),
        failed_sufficient=int((~passed & sufficient).sum()),
        failed_insufficient=int((~passed & ~sufficient).sum()),
    )


def _rounded(value: float, digits: int, *, up: bool) -> float:
    """Return ``value`` with so many significant digits, rounded up or down; what is within 1e-9 of one stays it."""
    if value == 0:
        return 0.0
    scale = 10.0 ** (digits - 1 - floor(log10(abs(value))))
    steps = value * scale
    whole = round(steps)
    if abs(steps - whole) > 1e-9 * abs(steps):
        whole = ceil(steps) if up else floor(steps)
    return float(f"{whole / scale:.{digits + 1}g}")


def _kept(value: float) -> float:
    """Return a result to as many digits as any two machines agree on."""
    return float(f"{value:.{_KEPT_DIGITS}g}")


def _kept_line(line: Line) -> FittedLine:
    return FittedLine(
        n=line.n,
        share_mean=_kept(line.share_mean),
        share_ss=_kept(line.share_ss),
        potency_mean=_kept(line.potency_mean),
        slope=_kept(line.slope),
        residual_sd=_kept(line.residual_sd),
    )


def _rate(value: float, resampled: FloatArray) -> RateRange:
    low, high = _middle(resampled)
    return RateRange(value=None if isnan(value) else _kept(value), low=low, high=high)


def _middle(values: FloatArray) -> tuple[float | None, float | None]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None, None
    low, high = np.percentile(defined, _MIDDLE)
    return _kept(float(low)), _kept(float(high))

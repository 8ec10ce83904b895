"""The decision path: from units of two arms to findings, in the order that STATISTICS of this project fixes.

1. Assay, reference or mapping fails its checks: METHOD_INADEQUATE.
2. The planned power of the test of potency is below the minimum: INSUFFICIENT_DATA.
3. Potency, every part (intersection-union) and every quality range pass, and the sites of none of them differ:
   HIGHLY_SIMILAR.
4. An interval lies wholly outside its margin: NOTABLE_DIFFERENCE.
5. Otherwise: SUSPECTED_SIMILAR.

Suppressed counts count against every claim: what decides is the interval that holds whatever they were. A part that is
lost in noise on counts is shown neither alike nor different, whatever its interval: its difference may be off either
way, and more lots make the wrong value surer. Every question
is asked where it can be, also beyond where the path ends, so that a reader sees what was left aside; only the path
decides.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import ceil, isfinite

import numpy as np

from shared.comparability import sentences
from shared.comparability.findings import (
    Arms,
    Check,
    CheckState,
    Compared,
    Criteria,
    Findings,
    Outcome,
    Range,
    ReferenceRange,
    ReferenceRanges,
    Step,
    StepName,
)
from shared.comparability.units import ArmUnits
from shared.statistics.arrays import FloatArray
from shared.statistics.comparability import (
    Contrast,
    Differences,
    QualityRange,
    contrast,
    differences,
    p_of_strata,
    quality_range,
)
from shared.statistics.equivalence_power import equivalence_power, lots_needed, lots_needed_each

POTENCY = "potency"
GOOD_POWER = 0.8
_SLACK = 1e-9  # a share of .9 of 10 lots is 9 lots


def assess(
    units: ArmUnits,
    parts: Sequence[str],
    checks: Sequence[Check],
    criteria: Criteria,
    *,
    consortium: ReferenceRanges | None = None,
    own_before: bool = True,
    lost_in_noise: Collection[str] = (),
) -> Findings:
    """Return what the comparison finds.

    Parameters
    ----------
    units : ArmUnits
        Both arms.
    parts : sequence of str, K
        The clusters.
    checks : sequence of Check
        Of the method.
    criteria : Criteria
        What was fixed before.
    consortium : ReferenceRanges, optional
        The ranges over the lots before of an earlier study; the lots after must lie within them too.
    own_before : bool
        False where the units before only stand in for a consortium's ranges.
    lost_in_noise : collection of str
        The clusters in which noise on counts is too large beside a lot's cells.
    """
    design = contrast(units.after, units.strata)
    values = np.column_stack([units.potency, units.parts])
    low, high = np.column_stack([units.potency, units.parts_low]), np.column_stack([units.potency, units.parts_high])
    table = differences(values, design, alpha=criteria.alpha, low=low, high=high)
    p_sites = p_of_strata(values, design)
    ranges = quality_range(values, design, k=criteria.quality_range_sd, low=low, high=high)
    limits: list[ReferenceRange | None] = [None] * values.shape[1]
    if consortium is not None:
        limits = [consortium.potency, *consortium.parts]
    names = (POTENCY, *parts)
    compared = tuple(
        _compared(
            names[k],
            k,
            design,
            table,
            criteria,
            margin=criteria.part_margin if k else criteria.margin,
            p_sites=_defined(p_sites[k]),
            p_limit=criteria.alpha / len(names),
            own=_own_range(ranges, k, criteria),
            consortium=_consortium_range(limits[k], low[:, k], high[:, k], units, criteria),
            lost_in_noise=k > 0 and names[k] in lost_in_noise,
        )
        for k in range(len(names))
    )
    planned = criteria.lot_sd if criteria.lot_sd is not None else _defined(table.sd_before[0])
    power = 0.0 if planned is None else _power(design, planned, criteria.margin, criteria)
    potency, alike_parts = compared[0], compared[1:]
    path, outcome = _path(checks, power, potency, alike_parts, criteria, estimable=design.is_estimable)
    findings = Findings(
        outcome=outcome,
        sentence="",
        next_steps=(),
        criteria=criteria,
        arms=_arms(units, design),
        checks=tuple(checks),
        planned_sd=planned,
        power=power,
        lots_needed=_needed_after(design, planned, criteria),
        lots_needed_each=_needed_each(planned, criteria.margin, criteria),
        potency=potency if design.is_estimable else None,
        parts=alike_parts if design.is_estimable else (),
        path=path,
    )
    return replace(
        findings,
        sentence=sentences.headline(findings),
        next_steps=sentences.next_steps(findings),
        notes=sentences.notes(findings, against_ranges=not own_before),
    )


def reference_ranges(
    units: ArmUnits, parts: Sequence[str], *, sites: int, noised: bool = False
) -> ReferenceRanges | None:
    """Return mean and SD of every value over the units before, sites together; None for fewer than two units.

    ``noised`` says that counts of some of their lots bear noise.
    """
    before = ~units.after
    n = int(before.sum())
    if n < 2:  # noqa: PLR2004 - an SD needs two
        return None

    def of(name: str, values: FloatArray) -> ReferenceRange:
        return ReferenceRange(name=name, mean=float(values.mean()), sd=float(values.std(ddof=1)))

    return ReferenceRanges(
        n=n,
        sites=sites,
        potency=of(POTENCY, units.potency[before]),
        parts=tuple(of(name, units.parts[before, k]) for k, name in enumerate(parts)),
        noised=noised,
    )


def _path(
    checks: Sequence[Check],
    power: float,
    potency: Compared,
    parts: Sequence[Compared],
    criteria: Criteria,
    *,
    estimable: bool,
) -> tuple[tuple[Step, ...], Outcome]:
    everything = (potency, *parts)
    sound = all(check.state is not CheckState.FAILED for check in checks)
    powered = estimable and power >= criteria.minimum_power
    alike = all(each.within and each.sites_agree and each.ranges_pass for each in everything) if estimable else None
    apart = any(each.outside for each in everything) if estimable else None
    steps = (
        Step(name=StepName.METHOD, answer=sound, reached=True),
        Step(name=StepName.POWER, answer=powered, reached=sound),
        Step(name=StepName.ALIKE, answer=alike, reached=sound and powered),
        Step(name=StepName.APART, answer=apart, reached=sound and powered and not alike),
    )
    if not sound:
        return steps, Outcome.METHOD_INADEQUATE
    if not powered:
        return steps, Outcome.INSUFFICIENT_DATA
    if alike:
        return steps, Outcome.HIGHLY_SIMILAR
    return steps, Outcome.NOTABLE_DIFFERENCE if apart else Outcome.SUSPECTED_SIMILAR


def _compared(
    name: str,
    k: int,
    design: Contrast,
    table: Differences,
    criteria: Criteria,
    *,
    margin: float,
    p_sites: float | None,
    p_limit: float,
    own: Range | None,
    consortium: Range | None,
    lost_in_noise: bool,
) -> Compared:
    bound_low, bound_high = float(table.bound_low[k]), float(table.bound_high[k])
    sd = _defined(table.sd_before[k])
    return Compared(
        name=name,
        estimate=_defined(table.estimate[k]),
        low=_defined(table.low[k]),
        high=_defined(table.high[k]),
        bound_low=_defined(bound_low),
        bound_high=_defined(bound_high),
        margin=margin,
        within=not lost_in_noise and -margin < bound_low and bound_high < margin,  # False where they are NaN
        outside=not lost_in_noise and (bound_low > margin or bound_high < -margin),
        sd_before=sd,
        sd_after=_defined(table.sd_after[k]),
        power=0.0 if sd is None else _power(design, sd, margin, criteria),
        lots_needed=_needed_each(sd, margin, criteria),
        p_sites=p_sites,
        sites_agree=p_sites is None or p_sites > p_limit,
        own_range=own,
        consortium=consortium,
        lost_in_noise=lost_in_noise,
    )


def _own_range(ranges: QualityRange, k: int, criteria: Criteria) -> Range | None:
    if not ranges.of:
        return None
    mean, half, inside = float(ranges.mean[k]), float(ranges.half_width[k]), int(ranges.inside[k])
    return Range(
        low=mean - half, high=mean + half, inside=inside, of=ranges.of, passes=_enough(inside, ranges.of, criteria)
    )


def _consortium_range(
    limits: ReferenceRange | None, low: FloatArray, high: FloatArray, units: ArmUnits, criteria: Criteria
) -> Range | None:
    of = int(units.after.sum())
    if limits is None or of == 0:
        return None
    floor = limits.mean - criteria.quality_range_sd * limits.sd
    ceiling = limits.mean + criteria.quality_range_sd * limits.sd
    inside = int(((low >= floor) & (high <= ceiling) & units.after).sum())
    return Range(low=floor, high=ceiling, inside=inside, of=of, passes=_enough(inside, of, criteria))


def _enough(inside: int, of: int, criteria: Criteria) -> bool:
    return inside >= ceil(criteria.quality_range_share * of - _SLACK)


def _power(design: Contrast, sd: float, margin: float, criteria: Criteria) -> float:
    return equivalence_power(design, sd_before=sd, sd_after=sd, margin=margin, alpha=criteria.alpha)


def _needed_after(design: Contrast, sd: float | None, criteria: Criteria) -> int | None:
    if sd is None:
        return None
    before = len(design.units(after=False))
    return lots_needed(before=before, sd=sd, margin=criteria.margin, alpha=criteria.alpha, power=criteria.minimum_power)


def _needed_each(sd: float | None, margin: float, criteria: Criteria) -> int | None:
    if sd is None:
        return None
    return lots_needed_each(sd=sd, margin=margin, alpha=criteria.alpha, power=GOOD_POWER)


def _arms(units: ArmUnits, design: Contrast) -> Arms:
    of_arm = {
        after: {(stratum, donor) for stratum, donor, arm in zip(units.strata, units.donors, units.after, strict=True)
                if bool(arm) is after}
        for after in (False, True)
    }  # fmt: skip
    return Arms(
        lots_before=int(units.lots[~units.after].sum()),
        lots_after=int(units.lots[units.after].sum()),
        units_before=int((~units.after).sum()),
        units_after=int(units.after.sum()),
        compared_before=len(design.units(after=False)),
        compared_after=len(design.units(after=True)),
        strata=int(design.stratum.max(initial=-1)) + 1,
        donors_in_both=len(of_arm[False] & of_arm[True]),
    )


def _defined(value: float) -> float | None:
    return float(value) if isfinite(value) else None

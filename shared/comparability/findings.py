"""What a comparison of lots before and after a change found: aggregates only, the same record at both parties.

Rules
-----
- Nothing here is of one lot. Individual lots stand on the page beside it, and only on pages that may show them.
- A number that is not defined is None. A part is a cluster on the scale of centred log ratios; potency is on that of
  natural logarithms.
- The word for an outcome never claims more than the path that led to it: no outcome says that lots are the same.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import log


class Outcome(StrEnum):
    """Where the decision path ends; the same words in every language."""

    METHOD_INADEQUATE = "METHOD_INADEQUATE"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    HIGHLY_SIMILAR = "HIGHLY_SIMILAR"
    NOTABLE_DIFFERENCE = "NOTABLE_DIFFERENCE"
    SUSPECTED_SIMILAR = "SUSPECTED_SIMILAR"


class CheckState(StrEnum):
    """What a check of the method said."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TOLD = "not-told"  # what it needs was not recorded


class CheckName(StrEnum):
    """The checks of assay, reference and mapping, in their order."""

    REPLICATES = "replicates"
    REFERENCE = "reference"
    GENE_COVERAGE = "gene-coverage"
    UNASSIGNED = "unassigned"


class StepName(StrEnum):
    """The questions of the decision path, in their order."""

    METHOD = "method"
    POWER = "power"
    ALIKE = "alike"
    APART = "apart"


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What was fixed before the lots were read.

    Attributes
    ----------
    change
        What was changed, in words.
    margin_fold, justification
        The fold of potency that counts as alike, and why; without a reason it is a placeholder.
    part_margin
        The margin of each part.
    quality_range_sd, quality_range_share
        k of mean +- k SD, and the share of the lots after that must lie within.
    alpha, minimum_power
        Of each one-sided test; of the test of potency at no difference.
    lot_sd
        The SD between lots that the study was planned with; None: that of the lots before.
    maximum_replicate_cv, maximum_reference_fold, minimum_gene_coverage, maximum_unassigned_excess
        Limits of the checks of the method.
    """

    change: str
    margin_fold: float
    justification: str | None
    part_margin: float
    quality_range_sd: float
    quality_range_share: float
    alpha: float
    minimum_power: float
    lot_sd: float | None
    maximum_replicate_cv: float
    maximum_reference_fold: float
    minimum_gene_coverage: float
    maximum_unassigned_excess: float

    @property
    def margin(self) -> float:
        """The margin of potency on the scale of natural logarithms."""
        return log(self.margin_fold)

    @property
    def level(self) -> float:
        """The level of the intervals that decide, 1 - 2 alpha."""
        return 1.0 - 2.0 * self.alpha


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of the method: what was found, and the limit."""

    name: CheckName
    state: CheckState
    found: float | None
    limit: float


@dataclass(frozen=True, kw_only=True)
class Range:
    """The quality range of one value: how many of the lots after lie within mean +- k SD of the lots before."""

    low: float
    high: float
    inside: int
    of: int
    passes: bool


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One value, after less before.

    ``bound_low`` and ``bound_high`` hold the interval whatever suppressed counts were; they decide. ``power`` is that
    of the test at no difference with the SD of the lots before, ``lots_needed`` how many lots in each arm at one site
    would give 80%. ``p_sites`` is the p of the hypothesis that the change did the same at every site; where it does
    not hold (``sites_agree``), differences may cancel in their mean. ``consortium`` is the range over the lots before
    of all sites of an earlier study, where one is given. ``lost_in_noise`` says that the noise on counts is too large
    beside a lot's cells of the cluster: neither ``within`` nor ``outside`` is then said, wherever the interval lies.
    """

    name: str
    estimate: float | None
    low: float | None
    high: float | None
    bound_low: float | None
    bound_high: float | None
    margin: float
    within: bool
    outside: bool
    sd_before: float | None
    sd_after: float | None
    power: float
    lots_needed: int | None
    p_sites: float | None
    sites_agree: bool
    own_range: Range | None
    consortium: Range | None = None
    lost_in_noise: bool = False

    @property
    def outside_as_counted(self) -> bool:
        """Whether the interval that decides lies wholly outside the margin, noise or not."""
        low, high = self.bound_low, self.bound_high
        return low is not None and high is not None and (low > self.margin or high < -self.margin)

    @property
    def suppressed(self) -> bool:
        """Whether hidden counts widen what decides."""
        return (self.low, self.high) != (self.bound_low, self.bound_high)

    @property
    def ranges_pass(self) -> bool:
        """Whether every quality range that there is passes, and there is one."""
        ranges = [each for each in (self.own_range, self.consortium) if each is not None]
        return bool(ranges) and all(each.passes for each in ranges)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One question of the path: ``answer`` is None where it could not be asked; ``reached`` says the path came by."""

    name: StepName
    answer: bool | None
    reached: bool


@dataclass(frozen=True, kw_only=True)
class ReferenceRange:
    """Mean and SD of one value over the lots before, as one number a donor."""

    name: str
    mean: float
    sd: float


@dataclass(frozen=True, kw_only=True)
class ReferenceRanges:
    """What the lots before look like over all sites: aggregates, to hold a lot of one's own against.

    ``noised`` says that counts of some of these lots bear noise: their spread, and so the range, is wider for it.
    """

    n: int
    sites: int
    potency: ReferenceRange
    parts: tuple[ReferenceRange, ...]
    noised: bool = False


@dataclass(frozen=True, kw_only=True)
class Arms:
    """How many lots and units (donors) stand on each side, and how many of them enter the difference."""

    lots_before: int
    lots_after: int
    units_before: int
    units_after: int
    compared_before: int
    compared_after: int
    strata: int
    donors_in_both: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The whole of a comparison."""

    outcome: Outcome
    sentence: str
    next_steps: tuple[str, ...]
    criteria: Criteria
    arms: Arms
    checks: tuple[Check, ...]
    planned_sd: float | None
    power: float
    lots_needed: int | None  # lots after beside the lots before, for the minimum power; None: lots before lack too
    lots_needed_each: int | None  # in each arm at one site, for 80%
    potency: Compared | None
    parts: tuple[Compared, ...]
    path: tuple[Step, ...]
    notes: tuple[str, ...] = ()

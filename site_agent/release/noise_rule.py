"""The rules of noise: where the site's policy asks for it, the counts are those of a draw that the lot's budget has.

Everything on the counts of a report must be a function of one draw. A report with a study module that tells of numbers
of cells besides the counts does not leave under noise.
"""

from decimal import Decimal

from protocol.policy import EffectiveRules, NoisePolicy
from protocol.report import LotReport
from site_agent.release.marker_rules import tells_of_cells
from site_agent.release.noise import noised_counts
from site_agent.release.noise_book import NoiseStanding, within_budget
from site_agent.release.suppression import hide_small_counts, named_parts, table_of
from site_agent.release.verdicts import RuleId, Verdict, failed, passed
from site_agent.release.withheld_clusters import magnitude_of

_FIELD = "disclosure.noise"


def judge_noise(report: LotReport, rules: EffectiveRules, standing: NoiseStanding | None) -> Verdict:
    """Say whether the counts bear the noise that the policy asks for, and nothing tells of them without it.

    Parameters
    ----------
    report, rules
        What would leave, and the rules in force.
    standing
        Where the report's noise stands in the site's book; None where the book has no draw for it.
    """
    noise, said = rules.noise, report.disclosure.noise
    if noise is None:
        if said is not None:
            return failed(RuleId.NOISE, (_FIELD,), "The report names noise that the site's policy does not ask for.")
        return passed(RuleId.NOISE, "The site's policy asks for no noise.")
    if said is None or said.epsilon != noise.epsilon_per_release:
        return failed(RuleId.NOISE, (_FIELD,), "The site's policy asks for other noise than the report names.")
    if tells_of_cells(report.markers):
        return failed(RuleId.NOISE, ("markers",), "The module markers tells of cells by number, which noise hides.")
    untrue = _not_of_the_draw(report, rules, standing)
    if untrue:
        return failed(RuleId.NOISE, untrue, "These counts are not those of a draw in the site's noise book.")
    return passed(RuleId.NOISE, f"Every count bears discrete Laplace noise, epsilon {said.epsilon:g}.")


def judge_noise_budget(rules: EffectiveRules, standing: NoiseStanding | None) -> tuple[Verdict, ...]:
    """Say whether the lot's budget of noise, over all studies, has what this report costs; nothing without noise."""
    noise = rules.noise
    if noise is None or standing is None:
        return ()
    words = budget_words(standing, noise)
    if not within_budget(standing, noise):
        return (failed(RuleId.NOISE_BUDGET, (_FIELD,), f"The lot's budget of noise is spent. {words}"),)
    return (passed(RuleId.NOISE_BUDGET, words),)


def budget_words(standing: NoiseStanding, noise: NoisePolicy) -> str:
    """Return what a report costs of its lot's budget, and what is left of it, in one sentence."""
    spent = standing.spent_otherwise + (standing.epsilon if standing.committed else Decimal(0))
    left = Decimal(repr(noise.epsilon_budget)) - spent
    cost = "is paid for" if standing.committed else f"costs {standing.epsilon}"
    return f"This draw {cost}; of the lot's epsilon of {noise.epsilon_budget:g}, {max(left, Decimal(0))} is left now."


def _not_of_the_draw(report: LotReport, rules: EffectiveRules, standing: NoiseStanding | None) -> tuple[str, ...]:
    noise = report.disclosure.noise
    if standing is None or noise is None or float(standing.epsilon) != noise.epsilon:
        return ("counts",)
    if len(standing.noised) != len(report.counts) + 1:
        return ("counts",)
    *counts, unassigned = noised_counts(standing.noised)
    drawn = named_parts(hide_small_counts(counts, unassigned, rules))
    pairs = zip(named_parts(table_of(report)), drawn, strict=True)
    return tuple(name for (name, said), (_, part) in pairs if said not in {part, magnitude_of(part, rules)})

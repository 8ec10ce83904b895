"""The disclosure rules of the study modules: what a plan does not ask for, and a policy does not allow, stays.

``effective`` has refused a plan whose modules the policy does not allow, so what the plan asks for here is allowed.
"""

from typing import Final

from protocol.modules.fit import misfit_of_modules
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from site_agent.release.verdicts import RuleId, Verdict, failed, passed

_PARTS: Final = ("arm", "attributes", "markers")


def judge_modules(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether the report's module parts are those that the plan asks for, and no others."""
    misfit = misfit_of_modules(
        rules.plan.modules,
        arm=report.arm,
        attributes=report.attributes,
        markers=report.markers,
        n_clusters=len(rules.plan.atlas.clusters),
    )
    if misfit is not None:
        return failed(RuleId.MODULES, _PARTS, f"Study modules: {misfit}")
    names = ", ".join(sorted(rules.plan.modules.names))
    return passed(
        RuleId.MODULES,
        f"The study's modules, which your policy allows: {names}." if names else "The study asks for no module.",
    )

"""The draft of a study plan, ``study.toml``: what people write before the coordinator signs."""

from typing import Final

from protocol.plan import StudyPlan
from protocol.toml_documents import read_toml, write_toml


def read_study_draft(data: bytes) -> StudyPlan:
    """Return the study plan that a TOML document spells.

    Thresholds of ``[disclosure]`` that are not given are the profile's; other fields that are not given have the
    defaults of ``StudyPlan``.

    Raises
    ------
    ProblemsError
        If anything in it is wrong: all problems are named.
    """
    return read_toml(StudyPlan, data, subject="the study draft")


def write_study_draft(plan: StudyPlan) -> bytes:
    """Return a study plan as a TOML document with explaining comments; reading it gives the same plan."""
    return write_toml(plan, _COMMENTS)


_COMMENTS: Final = {
    "": "Draft of a study plan. Once signed it is fixed: a changed plan is another plan.",
    "study": "Lower-case letters, digits and hyphens.",
    "opens": "The quarter in which collection may begin.",
    "sites": "Every site that will be asked.",
    "supersedes": "The SHA-256 of the plan that this one replaces.",
    "atlas": "The reference that every site maps onto: its exact file by hash, its clusters in their order.",
    "endpoints": (
        "One table for each potency endpoint: one assay, one unit, one family of tests.\n"
        "normalisation: run-reference (relative to the run's reference standard) or none.\n"
        "decimals: the assay's declared precision; potency leaves a site rounded to it."
    ),
    "cohorts": "Fixed before potency is read. role: discovery or validation; no tissues means any tissue.",
    "analysis": "How the question is put. Fixed before the first report is read.",
    "analysis.clusters": "The family of clusters that is tested; empty means all of the atlas.",
    "analysis.alternative": "two-sided, greater or less.",
    "analysis.strata": "What a permutation may not cross: site-and-tissue, site, tissue or none.",
    "quality": "Which cells count, and when a lot is not reported at all.",
    "disclosure": "What is asked of the sites; a site's own policy may be stricter and then holds.",
}

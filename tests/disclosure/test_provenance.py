"""A lot and its cells are known again under another atlas and in another study, from the cells themselves."""

import re
from pathlib import Path

import pytest

from coordinator.atlas_signing import manifest_of
from protocol.identifiers import StudyId
from protocol.plan import StudyPlan
from protocol.policy import SitePolicy, effective, read_policy
from protocol.pseudonyms import NameKind, pseudonym
from shared.atlas.artefact import to_bytes
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters
from site_agent.cells.lots import read_site_folder
from site_agent.lot_reports import FolderReports
from site_agent.release.offers import NotOffered, Offer
from tests.study_with_cells import IDENTIFIERS, SITES, SYMBOLS, cell_study, make_study_plan, write_study

pytestmark = pytest.mark.disclosure

SECRET = b"the secret of one site".ljust(32, b".")


def another_atlas() -> bytes:
    """Return an atlas of the same cells by two thirds of the genes."""
    study, kept = cell_study(), 80
    return to_bytes(
        fit_atlas(
            study.cells.X[:, :kept].tocsr(),
            study.cells.obs["kind"].astype(str).tolist(),
            study.cells.obs["lot"].astype(str).tolist(),
            gene_ids=list(IDENTIFIERS[:kept]),
            gene_symbols=list(SYMBOLS[:kept]),
            origin=Origin(name="fewer genes"),
            seed=2,
            parameters=FitParameters(n_dimensions=6),
        )
    )


def policy_for(folder: Path, plan: StudyPlan) -> SitePolicy:
    policy = read_policy((folder / "policy.toml").read_bytes())
    return policy.model_copy(update={"allowed_studies": (plan.study,), "auto_approve": ()})


def reports(folder: Path, atlas: bytes) -> FolderReports:
    plan = make_study_plan()
    return FolderReports(
        site=read_site_folder(folder, plan.endpoints, cohorts=plan.cohorts),
        atlas=atlas,
        secret=SECRET,
        done=lambda _lot: None,
        log=lambda _line: None,
        threads=1,
    )


def offers(folder: Path, plan: StudyPlan, atlas: bytes) -> list[Offer]:
    offered = reports(folder, atlas)(effective(policy_for(folder, plan), plan))
    return [offer for offer in offered if isinstance(offer, Offer)]


def test_the_same_cells_are_known_again_under_another_atlas_and_other_cells_are_not(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study") / "sites" / SITES[0]
    plan = make_study_plan()
    first = offers(folder, plan, to_bytes(cell_study().atlas))
    other = another_atlas()
    elsewhere = plan.model_copy(
        update={
            "study": StudyId("another-study"),
            "atlas": manifest_of(other).reference(),
            "quality": plan.quality.model_copy(update={"minimum_gene_coverage": 0.1}),
        }
    )
    second = offers(folder, elsewhere, other)
    assert len(first) == len(second) == 4
    assert [each.provenance for each in first] == [each.provenance for each in second]
    assert None not in [each.provenance for each in first]
    assert {each.report.lot for each in first}.isdisjoint(each.report.lot for each in second)
    assert len({each.provenance for each in first}) == 4
    # Fewer cells after stricter quality limits are other cells of the same lot.
    limits = plan.quality.model_copy(update={"minimum_genes_per_cell": 70})
    third = offers(folder, plan.model_copy(update={"quality": limits}), to_bytes(cell_study().atlas))
    known = {each.provenance.lot_sha256: each for each in first if each.provenance is not None}
    assert third
    for each in third:
        assert each.provenance is not None
        old = known[each.provenance.lot_sha256]
        fewer = each.report.cells_after_qc != old.report.cells_after_qc
        assert fewer == (each.provenance != old.provenance)
    assert any(each.provenance not in [old.provenance for old in first] for each in third)


def test_a_lot_beyond_the_limits_of_quality_is_named_to_the_sites_own_people_with_its_numbers(tmp_path: Path) -> None:
    folder, plan = write_study(tmp_path / "study") / "sites" / SITES[0], make_study_plan()
    strict = plan.model_copy(update={"quality": plan.quality.model_copy(update={"minimum_cells_per_lot": 10**6})})
    source = reports(folder, to_bytes(cell_study().atlas))
    poor = source(effective(policy_for(folder, strict), strict))
    names = {pseudonym(SECRET, study=plan.study, kind=NameKind.LOT, name=lot.lot) for lot in source.site.lots}
    assert {each.lot for each in poor if isinstance(each, NotOffered)} == names
    assert len(poor) == len(names) > 0
    for each in poor:
        assert isinstance(each, NotOffered)
        assert re.fullmatch(r"[0-9,]+ cells after QC; the study asks for 1,000,000\.", each.reasons[0])

"""A specification of known make for the tests of its use."""

from typing import Any

from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, seal
from protocol.identifiers import Sha256, instant
from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import (
    FittedLine,
    RateRange,
    ShareRange,
    Side,
    SpecificationOutcome,
    SpecificationResults,
)
from protocol.plan import AtlasReference, QualityLimits
from protocol.signing import SigningKey
from site_agent.qualification.judgement import LotFacts
from tests.study_parts import COORDINATOR, NOW, STUDY

ATLAS = AtlasReference(name="three kinds", sha256=Sha256("a" * 64), clusters=("alpha", "beta", "gamma"))


def make_specification(
    *,
    atlas: AtlasReference = ATLAS,
    quality: QualityLimits | None = None,
    **changes: Any,  # noqa: ANN401 - of any field
) -> Specification:
    """Return a specification of beta's share: at least 30%, seen from 15% to 60%."""
    basis = {
        "endpoint": "vegf",
        "limit": 100.0,
        "confidence": 0.95,
        "declared": True,
        "outcome": SpecificationOutcome.THRESHOLD,
        "sentence": "At least 30% of a lot's cells in beta predicts enough.",
        "cluster": "beta",
        "side": Side.AT_LEAST,
        "threshold": 0.3,
        "threshold_low": 0.27,
        "threshold_high": 0.34,
        "resamples": 2_000,
        "resamples_without": 0.01,
        "seen": ShareRange(low=0.15, high=0.6),
        "line": FittedLine(n=32, share_mean=0.35, share_ss=0.6, potency_mean=4.9, slope=4.0, residual_sd=0.2),
        "false_pass": RateRange(value=0.012, low=0.004, high=0.03),
        "false_fail": RateRange(value=0.3, low=0.2, high=0.5),
        "passing": 0.6,
        "share_tolerance": 0.18,
        "unassigned_limit": 0.05,
        "n_lots": 32,
        "n_units": 32,
        "n_sites": 4,
        "tissues": ("bone marrow",),
    }
    return Specification(
        version=1,
        issued=instant(NOW),
        study=STUDY,
        title="VEGF of bone-marrow MSC",
        plan_sha256=Sha256("b" * 64),
        results_sha256=Sha256("c" * 64),
        atlas=atlas,
        assay="ELISA",
        unit="pg/mL",
        scale="ln potency",
        quality=quality or QualityLimits(minimum_cells_per_lot=50),
        basis=SpecificationResults.model_validate(basis | changes),
    )


def sealed(specification: Specification, key: SigningKey = COORDINATOR) -> bytes:
    """Return a specification as the coordinator signs it."""
    return seal(encode(specification), PayloadType.SPECIFICATION, key)


def digest(specification: Specification) -> Sha256:
    """Return the hash of a specification's payload."""
    return sha256(encode(specification))


def make_facts(**changes: Any) -> LotFacts:  # noqa: ANN401 - of any field
    """Return the facts of a lot that passes."""
    facts: dict[str, Any] = {
        "cells": 900,
        "gene_coverage": 0.98,
        "share": 0.41,
        "share_low": 0.38,
        "share_high": 0.44,
        "interval_confidence": 0.9,
        "unassigned_share": 0.01,
        "shares_are_sensitive": False,
        "tissue": "bone marrow",
    }
    return LotFacts(**(facts | changes))

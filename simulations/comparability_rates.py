"""How often the comparison of lots before and after a change ends where, over many simulated studies.

Each replicate is drawn whole and answered by the module that a study runs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import digamma

from coordinator.modules.comparability import compare_arms
from protocol.identifiers import EndpointId
from protocol.modules.comparability import ComparabilityPlan
from protocol.plan import Cohort, CohortRole, Endpoint, Normalisation
from shared.comparability.findings import Findings, Outcome
from shared.errors import InternalError
from simulations.design import Block
from simulations.truth import Change, FloatArray, Model, replicate_generator, simulate_study, to_study_data

_ENDPOINT = EndpointId("vegf")
_COHORTS = (Cohort(cohort="discovery", role=CohortRole.DISCOVERY),)
_DONORS = 4_000
_WIDEST_SHIFT, _HALVINGS = 6.0, 40


def findings_of_replicate(
    model: Model, blocks: Sequence[Block], plan: ComparabilityPlan | None = None, *, seed: int, number: int
) -> Findings:
    """Return what the module finds in replicate ``number``, by the plan's defaults where none is given.

    Raises
    ------
    InternalError
        If the module gives no answer to a plan that asks for one.
    """
    study = to_study_data(simulate_study(model, blocks, replicate_generator(seed, number)), endpoint=_ENDPOINT)
    asked = plan or ComparabilityPlan(endpoint=_ENDPOINT, change="simulated")
    endpoint = Endpoint(endpoint=_ENDPOINT, assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE)
    answer = compare_arms(study, asked, (endpoint,), _COHORTS)
    if answer is None:
        raise InternalError("expected an answer to a plan that asks for one")
    return answer.findings


def outcomes(
    model: Model,
    blocks: Sequence[Block],
    plan: ComparabilityPlan | None = None,
    *,
    replicates: int,
    seed: int,
) -> Counter[Outcome]:
    """Return how often each outcome is given over ``replicates`` studies."""
    return Counter(
        findings_of_replicate(model, blocks, plan, seed=seed, number=number).outcome for number in range(replicates)
    )


def change_of_part(model: Model, cluster: int, log_ratio: float, *, seed: int = 1) -> Change:
    """Return the change under which one cluster's centred log ratio differs by ``log_ratio`` on average.

    The mean of the logarithm of a Dirichlet share with parameter a of total A is ``digamma(a) - digamma(A)``, so that
    the mean of a lot's centred log ratio is known exactly given its donor; the mean over donors and sites is taken over
    4,000 of them, the same with and without the change.
    """
    rng = np.random.default_rng(seed)
    sites = np.log(model.base_shares) + model.site_composition_sd * rng.standard_normal(
        (_DONORS, len(model.base_shares))
    )
    shares = np.exp(sites) / np.exp(sites).sum(axis=1, keepdims=True)
    gammas = rng.standard_gamma(model.donor_concentration * shares)
    donors = gammas / gammas.sum(axis=1, keepdims=True)

    def shifted(size: float) -> float:
        return _mean_log_ratio(model, donors, cluster, size) - _mean_log_ratio(model, donors, cluster, 0.0)

    low, high = -_WIDEST_SHIFT, _WIDEST_SHIFT
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if shifted(middle) < log_ratio else (low, middle)
    log_shares = [0.0] * len(model.base_shares)
    log_shares[cluster] = (low + high) / 2
    return Change(log_shares=tuple(log_shares))


def with_change(model: Model, change: Change) -> Model:
    """Return the model with this change."""
    return replace(model, change=change)


def _mean_log_ratio(model: Model, donors: FloatArray, cluster: int, shift: float) -> float:
    shares = donors.copy()
    shares[:, cluster] *= np.exp(shift)
    shares /= shares.sum(axis=1, keepdims=True)
    logs = digamma(model.lot_concentration * shares)
    return float((logs[:, cluster] - logs.mean(axis=1)).mean())

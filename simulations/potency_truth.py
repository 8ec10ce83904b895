r"""Several potencies of one lot, each with drivers of its own, beside the model's first one.

A further potency is drawn as the first (:mod:`simulations.truth`): log potency of the lot is
:math:`\text{level}_t + \text{activity}_t \sum_k \text{slope}_k\, p_{lk}` and a residual of donor and lot, and the assay
reads it with errors of site, run and replicate that the run's reference shares. The residuals of two potencies are
independent, so what they have in common comes from composition alone. Its draws come from a stream of their own: a
study with further potencies has the same cells and the same first potency as one without.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coordinator.study_data import PotencyReplicates
from protocol.identifiers import EndpointId
from protocol.plan import Endpoint, Normalisation
from simulations.truth import Driver, FloatArray, Model, SimulatedStudy

_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Assay:
    """How an endpoint is called and measured."""

    endpoint: EndpointId
    assay: str
    unit: str
    decimals: int = 1

    def as_endpoint(self, normalisation: Normalisation) -> Endpoint:
        """Return the plan's endpoint."""
        return Endpoint(
            endpoint=self.endpoint,
            assay=self.assay,
            unit=self.unit,
            normalisation=normalisation,
            decimals=self.decimals,
        )


VEGF = Assay(endpoint=EndpointId("vegf"), assay="VEGF ELISA under ischemia", unit="pg/mL")


@dataclass(frozen=True, kw_only=True)
class FurtherPotency:
    """One more potency: its assay, what drives it, and its scale in the assay's unit at a log potency of 0."""

    assay: Assay
    drivers: tuple[Driver, ...]
    slope: float
    scale: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedPotency:
    """What one endpoint shows of each lot, and the truth; values are in the assay's unit."""

    assay: Assay
    replicates: FloatArray  # (n_lots, n_replicates)
    references: FloatArray  # (n_lots, n_references)
    driver_clusters: tuple[int, ...]
    slope: float
    true_log_potency: FloatArray  # (n_lots,)


def first_potency(study: SimulatedStudy, assay: Assay, slope: float) -> SimulatedPotency:
    """Return the model's own potency in the same form."""
    return SimulatedPotency(
        assay=assay,
        replicates=study.replicates,
        references=study.references,
        driver_clusters=study.driver_clusters,
        slope=slope,
        true_log_potency=study.true_log_potency,
    )


def further_generator(seed: int, number: int) -> np.random.Generator:
    """Return the generator of what replicate ``number`` draws beside its cells and first potency."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, _STREAM)))


def simulate_potencies(
    study: SimulatedStudy, model: Model, further: Sequence[FurtherPotency], rng: np.random.Generator
) -> tuple[SimulatedPotency, ...]:
    """Return the further potencies of a study's lots, in their order; ``rng`` is the only source of chance."""
    return tuple(_one(study, model, each, rng) for each in further)


def replicates_of(study: SimulatedStudy, potency: SimulatedPotency) -> PotencyReplicates:
    """Return one endpoint's values as the analysis reads them: every lot has one run of its own."""
    return PotencyReplicates(
        runs=tuple(
            ((run, tuple(values), tuple(references)),)
            for run, values, references in zip(
                study.runs, potency.replicates.tolist(), potency.references.tolist(), strict=True
            )
        )
    )


def _one(study: SimulatedStudy, model: Model, further: FurtherPotency, rng: np.random.Generator) -> SimulatedPotency:
    n_lots = len(study.lots)
    slopes = np.zeros(len(study.clusters))
    slopes[[driver.cluster for driver in further.drivers]] = [further.slope * each.weight for each in further.drivers]
    tissues = [model.tissue(name) for name in study.tissues]
    donors, donor_index = np.unique(np.array(study.donors), return_inverse=True)
    sites, site_index = np.unique(np.array(study.sites), return_inverse=True)
    log_potency = (
        np.array([tissue.level for tissue in tissues])
        + np.array([tissue.activity for tissue in tissues]) * (study.true_shares @ slopes)
        + (model.donor_sd * rng.standard_normal(len(donors)))[donor_index]
        + model.lot_sd * rng.standard_normal(n_lots)
    )
    reading = (
        np.log(further.scale)
        + (model.assay_sd * rng.standard_normal(len(sites)))[site_index]
        + model.run_sd * rng.standard_normal(n_lots)
    )[:, np.newaxis]
    replicate_noise = model.replicate_sd * rng.standard_normal((n_lots, model.replicates))
    reference_noise = model.replicate_sd * rng.standard_normal((n_lots, model.references))
    return SimulatedPotency(
        assay=further.assay,
        replicates=np.exp(reading + log_potency[:, np.newaxis] + replicate_noise),
        references=np.exp(reading + reference_noise),
        driver_clusters=tuple(driver.cluster for driver in further.drivers),
        slope=further.slope,
        true_log_potency=log_potency,
    )

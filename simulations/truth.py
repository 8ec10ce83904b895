r"""The generative model of a multi-site study with known truth, at the level of counts: under a millisecond a study.

Composition of lot l of donor d at site s, tissue t, over K clusters:

.. math::
    \pi_{st} &\propto \exp(\log\pi + \text{shift}_t + \sigma_\text{site}\, z_s), \quad z_s \sim N(0, I_K) \\
    p_d &\sim \text{Dirichlet}(120\, \pi_{st}), \qquad p_l \sim \text{Dirichlet}(60\, p_d) \\
    q_l &\sim \text{Dirichlet}(1999\, p_l) \quad \text{(one library; intra-class correlation } 1/2000\text{)} \\
    N_l &\sim U\{1500, \dots, 4000\}, \quad u_l \sim \text{Beta}, \quad
    (\text{counts}, \text{unassigned}) \sim \text{Multinomial}(N_l, ((1-u_l) q_l, u_l))

Potency of the lot, on the scale of natural logarithms:

.. math::
    m_l = \ln 2 + \text{level}_t + \text{activity}_t \sum_k \text{slope}_k\, p_{lk} + \text{process}_s
          + \text{donor}_d + \text{residual}_l

and what the assay reports, for a replicate of the lot and for one of the reference standard in the same run:

.. math::
    \ln \text{value} = \ln \text{scale} + m_l + \text{assay}_s + \text{run}_r + \epsilon, \qquad
    \ln \text{reference} = \ln \text{scale} + \text{assay}_s + \text{run}_r + \epsilon

A site's *process* changes what its lots can do; a site's *assay* changes what it reads. The reference standard
cancels the second, never the first. The driver acts through the lot's true share ``p_l``, not through what was
counted. Lots made after a change of process bear its shifts of composition and potency besides (``Change``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.study_data import PotencyReplicates, StudyData
from protocol.modules.comparability import Arm
from simulations.design import Block, expand

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What a source tissue changes.

    ``level`` is added to the log potency; ``activity`` multiplies the driver's slope; ``driver_log_ratio`` is added to
    the log of the drivers' base shares before they are closed to 1; ``marker_log_ratio`` shifts the expression of the
    driver's marker in every cell of the tissue (cells only; counts do not show it).
    """

    name: str
    level: float = 0.0
    activity: float = 1.0
    driver_log_ratio: float = 0.0
    marker_log_ratio: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A cluster that makes potency: its index and its weight in the common slope."""

    cluster: int
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a change of process does to the lots after it.

    ``log_potency`` is added to their log potency beside what their composition does; ``log_shares`` to the logarithms
    of the parameters of their shares, one a cluster (empty: nothing).
    """

    log_potency: float = 0.0
    log_shares: tuple[float, ...] = ()


BONE_MARROW = Tissue(name="BM")
ADIPOSE = Tissue(name="AD", level=-0.3, activity=0.8)
UMBILICAL_CORD = Tissue(name="UC", level=-1.2, activity=0.0, marker_log_ratio=-4.0)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The parameters of the generative model.

    All standard deviations of potency are on the scale of natural logarithms. ``donor_sd`` and ``lot_sd`` are the
    biology that no cluster explains, .25 together: a correlation that a scenario asks for counts them in.
    """

    base_shares: tuple[float, ...] = (0.30, 0.22, 0.16, 0.12, 0.11, 0.09)
    drivers: tuple[Driver, ...] = ()
    slope: float = 0.0
    tissues: tuple[Tissue, ...] = (BONE_MARROW, ADIPOSE, UMBILICAL_CORD)
    # composition
    donor_concentration: float = 120.0
    lot_concentration: float = 60.0
    site_composition_sd: float = 0.3
    library_icc: float = 0.0005
    cells_low: int = 1_500
    cells_high: int = 4_000
    unassigned_share: float = 0.03
    unassigned_concentration: float = 200.0
    # potency
    ischemia: float = float(np.log(2.0))
    process_sd: float = 0.0
    assay_sd: float = 0.35
    donor_sd: float = 0.20
    lot_sd: float = 0.15
    run_sd: float = 0.2
    replicate_sd: float = 0.12
    replicates: int = 3
    references: int = 3
    outlier_shift: float = 0.0  # added to the residual of one lot, drawn at random
    scale: float = 400.0  # pg/mL at m = 0
    change: Change = Change()  # of the lots of the arm after

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters, numbered from 0 as in the model study."""
        return tuple(f"cluster {number}" for number in range(len(self.base_shares)))

    def tissue(self, name: str) -> Tissue:
        """Return the tissue called ``name``; a KeyError names one that the model does not know."""
        return {tissue.name: tissue for tissue in self.tissues}[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedStudy:
    """What the lots show, and the truth behind them. Lots are sorted by (site, lot)."""

    lots: tuple[str, ...]
    sites: tuple[str, ...]
    donors: tuple[str, ...]
    tissues: tuple[str, ...]
    cohorts: tuple[str, ...]
    arms: tuple[Arm | None, ...]
    clusters: tuple[str, ...]
    counts: IntArray  # (n_lots, n_clusters)
    unassigned: IntArray  # (n_lots,)
    totals: IntArray  # (n_lots,) unassigned included
    runs: tuple[str, ...]
    replicates: FloatArray  # (n_lots, n_replicates) pg/mL
    references: FloatArray  # (n_lots, n_references) pg/mL, of the lot's run
    driver_clusters: tuple[int, ...]
    true_shares: FloatArray  # (n_lots, n_clusters) the lot's own composition, before any counting
    true_log_potency: FloatArray  # (n_lots,) m, before any assay

    @property
    def log_relative_potency(self) -> FloatArray:
        """Mean ln of the replicates less mean ln of the run's reference, ``(n_lots,)``."""
        relative: FloatArray = np.log(self.replicates).mean(axis=1) - np.log(self.references).mean(axis=1)
        return relative

    @property
    def shares(self) -> FloatArray:
        """Cells in the cluster by all cells of the lot, ``(n_lots, n_clusters)``."""
        shares: FloatArray = self.counts / self.totals[:, np.newaxis]
        return shares


def _dirichlet_rows(rng: np.random.Generator, concentrations: FloatArray) -> FloatArray:
    """Draw one Dirichlet vector a row; a concentration so small that its gamma underflows gives a share of 0."""
    gammas = rng.standard_gamma(concentrations)
    closed: FloatArray = gammas / gammas.sum(axis=1, keepdims=True)
    return closed


def replicate_generator(seed: int, number: int) -> np.random.Generator:
    """Return the generator of replicate ``number`` under ``seed``: its own, whatever else is drawn and wherever."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def simulate_study(model: Model, blocks: Sequence[Block], rng: np.random.Generator) -> SimulatedStudy:
    """Draw one study.

    Parameters
    ----------
    model : Model
        The parameters.
    blocks : sequence of Block
        The design; its tissues must be known to the model.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same study.

    Returns
    -------
    SimulatedStudy
        ``n_lots`` lots sorted by (site, lot).
    """
    design = expand(blocks)
    n_lots, n_clusters = len(design.lots), len(model.base_shares)
    tissue_of_lot = [model.tissue(name) for name in design.tissues]
    driver_index = [driver.cluster for driver in model.drivers]
    slopes = np.zeros(n_clusters)
    slopes[driver_index] = [model.slope * driver.weight for driver in model.drivers]

    # Composition: site -> donor -> lot -> library -> cells.
    log_shares = np.tile(np.log(model.base_shares), (n_lots, 1))
    log_shares[:, driver_index] += np.array([[tissue.driver_log_ratio] for tissue in tissue_of_lot])
    log_shares += model.site_composition_sd * rng.standard_normal((design.n_sites, n_clusters))[design.site_index]
    site_shares = np.exp(log_shares)
    site_shares /= site_shares.sum(axis=1, keepdims=True)
    first_lot_of_donor = np.unique(design.donor_index, return_index=True)[1]
    donor_shares = _dirichlet_rows(rng, model.donor_concentration * site_shares[first_lot_of_donor])
    lot_parameters = donor_shares[design.donor_index]
    after = np.array([arm is Arm.AFTER for arm in design.arms])
    if model.change.log_shares:
        lot_parameters = lot_parameters * np.exp(np.outer(after, model.change.log_shares))
        lot_parameters /= lot_parameters.sum(axis=1, keepdims=True)
    lot_shares = _dirichlet_rows(rng, model.lot_concentration * lot_parameters)
    library_shares = _dirichlet_rows(rng, (1.0 / model.library_icc - 1.0) * lot_shares)
    totals = rng.integers(model.cells_low, model.cells_high, size=n_lots, endpoint=True)
    unassigned_shares = rng.beta(
        model.unassigned_share * model.unassigned_concentration,
        (1.0 - model.unassigned_share) * model.unassigned_concentration,
        size=n_lots,
    )[:, np.newaxis]
    cells = rng.multinomial(totals, np.hstack([library_shares * (1.0 - unassigned_shares), unassigned_shares]))

    # Potency: what the lot can do, then what the assay reads. Every lot has a run of its own.
    residual = model.lot_sd * rng.standard_normal(n_lots)
    residual[rng.integers(n_lots)] += model.outlier_shift
    log_potency = (
        model.ischemia
        + np.array([tissue.level for tissue in tissue_of_lot])
        + np.array([tissue.activity for tissue in tissue_of_lot]) * (lot_shares @ slopes)
        + (model.process_sd * rng.standard_normal(design.n_sites))[design.site_index]
        + (model.donor_sd * rng.standard_normal(design.n_donors))[design.donor_index]
        + residual
        + model.change.log_potency * after
    )
    reading = (
        np.log(model.scale)
        + (model.assay_sd * rng.standard_normal(design.n_sites))[design.site_index]
        + model.run_sd * rng.standard_normal(n_lots)
    )[:, np.newaxis]
    replicate_noise = model.replicate_sd * rng.standard_normal((n_lots, model.replicates))
    reference_noise = model.replicate_sd * rng.standard_normal((n_lots, model.references))
    return SimulatedStudy(
        lots=design.lots,
        sites=design.sites,
        donors=design.donors,
        tissues=design.tissues,
        cohorts=design.cohorts,
        arms=design.arms,
        clusters=model.clusters,
        counts=cells[:, :-1].astype(np.int64),
        unassigned=cells[:, -1].astype(np.int64),
        totals=totals.astype(np.int64),
        runs=tuple(lot.replace("-lot-", "-run-") for lot in design.lots),
        replicates=np.exp(reading + log_potency[:, np.newaxis] + replicate_noise),
        references=np.exp(reading + reference_noise),
        driver_clusters=tuple(driver_index),
        true_shares=lot_shares,
        true_log_potency=log_potency,
    )


def to_study_data(study: SimulatedStudy, *, endpoint: str = "vegf", small_count_threshold: int = 0) -> StudyData:
    """Return the study as the analysis sees it: counts and replicates, nothing of the truth.

    Parameters
    ----------
    study : SimulatedStudy
        What was drawn.
    endpoint : str
        The name of the potency endpoint.
    small_count_threshold : int
        t; a part of 1 to t - 1 cells, unassigned included, is the interval [1, t - 1] and the total the sum of the
        ends, as a site's disclosure does. 0 hides nothing.
    """
    parts = np.column_stack([study.counts, study.unassigned])
    small = (parts >= 1) & (parts < small_count_threshold)
    low, high = np.where(small, 1, parts), np.where(small, small_count_threshold - 1, parts)
    return StudyData(
        lots=study.lots,
        sites=study.sites,
        donors=study.donors,
        tissues=study.tissues,
        cohorts=study.cohorts,
        arms=study.arms if any(study.arms) else None,
        clusters=study.clusters,
        counts_low=low[:, :-1],
        counts_high=high[:, :-1],
        unassigned_low=low[:, -1],
        unassigned_high=high[:, -1],
        totals_low=low.sum(axis=1),
        totals_high=high.sum(axis=1),
        potency={
            endpoint: PotencyReplicates(
                runs=tuple(
                    ((run, tuple(values), tuple(references)),)
                    for run, values, references in zip(
                        study.runs, study.replicates.tolist(), study.references.tolist(), strict=True
                    )
                )
            )
        },
    )

"""The genes of simulated cells: names, baseline abundance, and the programme of each cluster.

The panel is the same in every study: it is drawn once from a seed of its own. The driver's programme is that of the
model study: LRRC75A and oxidative phosphorylation up, extracellular matrix down. Identifiers look like Ensembl's and
are not.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MARKER = "LRRC75A"
"""The driver's marker gene of the model study."""

_MITOCHONDRIAL = "MT-ND1 MT-ND2 MT-CO1 MT-CO2 MT-ATP8 MT-ATP6 MT-CO3 MT-ND3 MT-ND4L MT-ND4 MT-ND5 MT-ND6 MT-CYB"
_OXIDATIVE_PHOSPHORYLATION = (
    "NDUFA1 NDUFA2 NDUFA3 NDUFA4 NDUFA6 NDUFB1 NDUFB2 NDUFB4 NDUFB7 NDUFB9 NDUFC1 NDUFS5 NDUFS6 UQCR10 UQCR11 UQCRB "
    "UQCRQ COX4I1 COX5B COX6A1 COX6B1 COX6C COX7A2 COX7B COX7C COX8A ATP5F1E ATP5MC2 ATP5ME ATP5MF"
)
_EXTRACELLULAR_MATRIX = (
    "COL1A1 COL1A2 COL3A1 COL5A1 COL5A2 COL6A1 COL6A2 COL6A3 COL12A1 FN1 FBN1 SPARC THBS1 THBS2 POSTN LUM DCN BGN "
    "TNC LOX LOXL2 TGFBI FAP ADAM12"
)
_PANEL_SEED = 20_231_208
_MITOCHONDRIAL_SHARE = 0.06
_GENES_UP = 30
_GENES_DOWN = 15
_LOG_FOLD_LOW, _LOG_FOLD_HIGH = 0.4, 1.2
_FOREIGN_STRENGTH = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class GenePanel:
    """Genes and cluster programmes.

    ``log_profiles`` is ``(n_clusters + 1, n_genes)``, on the scale of ln expected share of a cell's counts before
    closing to 1; its last row is the state that no cluster of the atlas holds (stressed cells).
    """

    symbols: tuple[str, ...]
    identifiers: tuple[str, ...]
    log_profiles: FloatArray
    mitochondrial: NDArray[np.bool_]  # (n_genes,)
    marker_index: int


@lru_cache(maxsize=8)
def gene_panel(*, n_clusters: int, driver_clusters: tuple[int, ...], n_genes: int = 1_200) -> GenePanel:
    """Return the panel of ``n_genes`` genes with a programme for each cluster.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    driver_clusters : tuple of int
        These carry the marker, oxidative phosphorylation up and matrix down.
    n_genes : int
        At least 400: the named genes and enough others for the programmes.

    Returns
    -------
    GenePanel
        The same for the same arguments, whatever was drawn before.
    """
    rng = np.random.default_rng(_PANEL_SEED)
    named = [*_MITOCHONDRIAL.split(), MARKER, *_OXIDATIVE_PHOSPHORYLATION.split(), *_EXTRACELLULAR_MATRIX.split()]
    symbols = (*named, *(f"SIM{number:04d}" for number in range(1, n_genes - len(named) + 1)))
    baseline = rng.normal(0.0, 1.2, size=n_genes)
    position = {symbol: index for index, symbol in enumerate(symbols)}
    marker = position[MARKER]
    phosphorylation = [position[symbol] for symbol in _OXIDATIVE_PHOSPHORYLATION.split()]
    matrix = [position[symbol] for symbol in _EXTRACELLULAR_MATRIX.split()]
    baseline[marker] = -0.5
    baseline[phosphorylation] = rng.normal(0.5, 0.5, size=len(phosphorylation))
    baseline[matrix] = rng.normal(1.2, 0.6, size=len(matrix))

    profiles = np.tile(baseline, (n_clusters + 1, 1))
    others = np.arange(len(named), n_genes)
    for cluster in range(n_clusters + 1):
        chosen = rng.choice(others, size=_GENES_UP + _GENES_DOWN, replace=False)
        strength = _FOREIGN_STRENGTH if cluster == n_clusters else 1.0
        change = strength * rng.uniform(_LOG_FOLD_LOW, _LOG_FOLD_HIGH, size=len(chosen))
        change[_GENES_UP:] *= -1
        profiles[cluster, chosen] += change
    for cluster in driver_clusters:
        profiles[cluster, marker] += 2.0
        profiles[cluster, phosphorylation] += 0.35
        profiles[cluster, matrix] -= 0.35

    mitochondrial = np.zeros(n_genes, dtype=np.bool_)
    mitochondrial[: len(_MITOCHONDRIAL.split())] = True
    # Every state starts from the same share of mitochondrial counts; a cell's own share varies around it.
    nuclear = np.log(np.exp(profiles[:, ~mitochondrial]).sum(axis=1, keepdims=True))
    within = profiles[:, mitochondrial]
    within -= np.log(np.exp(within).sum(axis=1, keepdims=True))
    profiles[:, mitochondrial] = within + nuclear + np.log(_MITOCHONDRIAL_SHARE / (1 - _MITOCHONDRIAL_SHARE))
    return GenePanel(
        symbols=symbols,
        identifiers=tuple(f"ENSG999{number:08d}" for number in range(1, n_genes + 1)),
        log_profiles=profiles,
        mitochondrial=mitochondrial,
        marker_index=marker,
    )

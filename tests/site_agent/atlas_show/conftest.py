"""Atlases of three, two and one reference lots, whose lots have names that must not be found anywhere."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from shared.atlas.artefact import Atlas, to_bytes
from shared.atlas.card import Marker
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters
from site_agent.atlas_show.model import AtlasView, view_atlas

SECRET_LOTS = ("Ogawa-2291", "Lot Brünnhilde", "PT-0007/b")
HOSTILE = '</td><script>alert(1)</script><img src="http://x.example/y" onerror=z>'[:64]
_N_GENES = 120


def fitted(n_lots: int, *, seed: int = 3, cells_per_lot: int = 150, overlap: float = 0.0) -> Atlas:
    """Return an atlas of four kinds of cells and a fifth too rare to be kept; ``overlap`` blurs the first two."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(0.7, 2.0, _N_GENES) + 0.2
    profiles = np.tile(base, (5, 1))
    for kind in range(5):
        profiles[kind, 15 * kind : 15 * (kind + 1)] *= 5
    profiles[1] = (1 - overlap) * profiles[1] + overlap * profiles[0]
    kinds = rng.choice(4, n_lots * cells_per_lot, p=[0.4, 0.3, 0.2, 0.1])
    kinds[:2] = 4
    lots = np.arange(len(kinds)) % n_lots
    counts = sp.csr_matrix(rng.poisson(profiles[kinds]).astype(np.float32))
    symbols = [f"GENE{place}" for place in range(_N_GENES)]

    def markers(_counts: object, _codes: object, clusters: Sequence[str]) -> list[list[Marker]]:
        marker = Marker(gene="GENE1", log2_fold_change=2.25, share_in=0.9, share_out=0.1)
        return [[marker] for _ in clusters]

    return fit_atlas(
        counts,
        [f"kind {kind}" for kind in kinds],
        [SECRET_LOTS[lot] for lot in lots],
        gene_ids=None,
        gene_symbols=symbols,
        origin=Origin(name="test atlas", tissue="blood"),
        seed=1,
        parameters=FitParameters(n_dimensions=8, n_variable_genes=60, n_marker_genes=10),
        markers=markers,
    )


@pytest.fixture(scope="session")
def three() -> Atlas:
    return fitted(3)


@pytest.fixture(scope="session")
def two() -> Atlas:
    return fitted(2)


@pytest.fixture(scope="session")
def one() -> Atlas:
    return fitted(1)


def viewed(atlas: Atlas) -> AtlasView:
    return view_atlas(atlas, to_bytes(atlas))


def renamed(atlas: Atlas, name: str) -> Atlas:
    """Return the atlas with one hostile text wherever a text may stand; clusters stay distinct."""
    card = atlas.card
    clusters = tuple(f"{place}{name}"[:64] for place in range(len(card.clusters)))
    marker = Marker(gene=name, log2_fold_change=1.0, share_in=1.0, share_out=0.0)
    dropped = tuple(each.replaced(cluster=name, reason=name) for each in card.dropped)
    origin = card.provenance.replaced(tissue=name, species=name, method=name, crosslot=name, notes=(name,))
    changed = card.replaced(
        name=name,
        clusters=clusters,
        markers=((marker,),) * len(clusters),
        dropped=dropped,
        provenance=origin,
        transfer=card.transfer.replaced(reason=name),
    )
    return replace(atlas, card=changed)

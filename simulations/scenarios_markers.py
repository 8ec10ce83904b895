"""Scenarios of the module markers: the model study with its marker, and tissues that speak by it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from protocol.modules.asked import Modules
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.plan import MarkerRule, Strata
from simulations.design import Block
from simulations.effect_size import slope_for_correlation
from simulations.gene_panel import MARKER, gene_panel
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Driver, Model

_DRIVER = 3
_N_OTHER_GENES = 45
MARKER_RULE: Final = MarkerRule(gene=MARKER, within="cluster", minimum_mean=1.0)
"""The driver's cells have a mean of about 2.6, those of other clusters .7, and umbilical cord's .1."""


def _panel() -> MarkersPlan:
    """Return the marker, its two programmes, and as many genes as they without a name."""
    panel = gene_panel(n_clusters=6, driver_clusters=(_DRIVER,))
    named = [
        symbol
        for symbol, mitochondrial in zip(panel.symbols, panel.mitochondrial, strict=True)
        if not mitochondrial and not symbol.startswith("SIM")
    ]
    others = [f"SIM{number:04d}" for number in range(1, _N_OTHER_GENES + 1)]
    return MarkersPlan(
        genes=(*named, *others), predictors=(MarkerPredictor(gene=MARKER, threshold=2.3),)
    )  # 2.3: two molecules in most cells


_DISCOVERY = (
    Block(site="site-a", donors=3),
    Block(site="site-b", donors=3),
    Block(site="site-c", donors=3),
    Block(site="site-d", donors=2),
)


def _validation(per_site: int) -> tuple[Block, ...]:
    return (
        *(Block(site=f"site-{letter}", donors=per_site, cohort="validation") for letter in "abcd"),
        *(Block(site=f"site-{letter}", donors=per_site, tissue="AD", cohort="validation") for letter in "abcd"),
        Block(site="site-c", donors=3, tissue="UC", cohort="validation"),
        Block(site="site-d", donors=2, tissue="UC", cohort="validation"),
    )


def _model_study_markers() -> Scenario:
    """Cluster 3 should be found with its markers, and hold in new BM and in AD lots; UC, LRRC75A silent, cannot speak.

    11 BM lots at 4 sites for discovery, r = .9; 8 BM, 8 AD and 5 UC lots for validation. UC lots have as many cells of
    cluster 3 as others, but these do not express LRRC75A and do not act. The rule on the marker's expression, decided
    before potency is read, leaves UC out. LRRC75A and oxidative phosphorylation should be cluster 3's markers,
    extracellular matrix down; the share of LRRC75A-high cells in the lot should follow potency too.
    """
    return _scenario(_model_study_markers, 2)


def _paper_validation() -> Scenario:
    """Cluster 3 should be found, and hold in 4 BM and 4 AD lots where luck allows: 4 lots a tissue, as in the paper.

    As model-study-markers, but with the paper's validation lots. Four lots hold by themselves only in one perfect order
    of 24 (p = .042): the tissues together decide.
    """
    return _scenario(_paper_validation, 1)


def _scenario(builder: Callable[[], Scenario], per_site: int) -> Scenario:
    model = Model(drivers=(Driver(cluster=_DRIVER),))
    made = scenario_of(
        builder,
        model=replace(model, slope=slope_for_correlation(model, 0.9)),
        blocks=(*_DISCOVERY, *_validation(per_site)),
        strata=Strata.TISSUE,
        minimum_share=0.02,
        modules=Modules(markers=_panel()),
    )
    return replace(made, marker_rule=MARKER_RULE)


MARKER_SCENARIOS: Final = (_model_study_markers(), _paper_validation())
"""In the order in which a reader meets them."""

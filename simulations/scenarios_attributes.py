"""Scenarios of the module attributes: a panel of airway-epithelial exosomes with one driver and two traps."""

from typing import Final

from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributeTransform
from simulations.attribute_truth import AttributeModel, AttributesModel, Quantity
from simulations.design import even_design
from simulations.potency_truth import Assay
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Model, Tissue

_AIRWAY = Tissue(name="airway epithelium", level=0.0)
_INHIBITION = Assay(
    endpoint=EndpointId("antifibrotic"), assay="alpha-SMA suppression by exosomes", unit="fold", decimals=3
)
_DRIVER_CORRELATION = 0.85
_PROTEIN = Quantity(median=40.0, sd=0.5, correlation=-0.8)  # carried-over protein: an impurity


def _mirna(name: str, quantity: Quantity, *, limit: float = 1.0, missing_sites: tuple[int, ...] = ()) -> AttributeModel:
    return AttributeModel(
        plan=AttributePlan(
            attribute=name,
            kind=AttributeKind.CONCENTRATION,
            unit="copies/pg RNA",
            family="mirna",
            decimals=2,
            transform=AttributeTransform.LOG,
            detection_limit=limit,
            assay="RT-qPCR panel",
            reference="cel-miR-39 spike-in",
        ),
        quantity=quantity,
        missing_sites=missing_sites,
    )


def _ratio(name: str, unit: str, numerator: str, quantity: Quantity) -> AttributeModel:
    return AttributeModel(
        plan=AttributePlan(
            attribute=name,
            kind=AttributeKind.RATIO,
            unit=unit,
            family="particles",
            decimals=3,
            transform=AttributeTransform.LOG,
            assay="nanoparticle tracking and BCA",
            numerator=numerator,
            denominator="protein",
        ),
        quantity=quantity,
    )


AIRWAY_PANEL: Final = AttributesModel(
    attributes=(
        _mirna("mir-16", Quantity(median=220.0)),
        _mirna("mir-26a", Quantity(median=90.0)),
        _mirna("mir-26b", Quantity(median=35.0), missing_sites=(3,)),
        _mirna("mir-141", Quantity(median=60.0)),
        _mirna("mir-148a", Quantity(median=45.0, correlation=_DRIVER_CORRELATION)),
        _mirna("mir-200a", Quantity(median=6.0, sd=0.8), limit=8.0),
        AttributeModel(
            plan=AttributePlan(
                attribute="particles",
                kind=AttributeKind.CONCENTRATION,
                unit="1e9/mL",
                family="particles",
                decimals=2,
                transform=AttributeTransform.LOG,
                assay="nanoparticle tracking",
            ),
            quantity=Quantity(median=55.0),
        ),
        _ratio("particles-per-protein", "1e9/ug", "particles", Quantity(median=55.0, sd=0.2, site_sd=0.1)),
        _ratio("cd63-per-protein", "ng/ug", "cd63", Quantity(median=12.0, sd=0.2, site_sd=0.1)),
    ),
    denominators={"protein": _PROTEIN},
)
"""miR-16, -26a, -26b, -141, -148a, -200a, particles and what is given per ug of protein."""


def _airway_exosome() -> Scenario:
    """miR-148a should be found, with r = .85 to log potency, and no cluster's share should: 24 lots of 4 sites.

    Two traps. Particles and CD63 per ug of protein both follow potency because the protein carried over falls with it;
    neither particles nor CD63 do, and the report warns of the shared denominator. miR-200a lies below its limit of
    detection in most lots and can hardly be found, whatever it does. One site does not measure miR-26b.
    """
    return scenario_of(
        _airway_exosome,
        model=Model(tissues=(_AIRWAY,), scale=4.0),
        blocks=even_design(sites=4, lots_per_site=6, tissue=_AIRWAY.name),
        modules=Modules(attributes=AIRWAY_PANEL.plan),
        assay=_INHIBITION,
        attributes=AIRWAY_PANEL,
    )


ATTRIBUTE_SCENARIOS: Final = (_airway_exosome(),)
"""In the order in which a reader meets them."""

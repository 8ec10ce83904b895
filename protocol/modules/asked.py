"""The modules that a study plan asks for."""

from protocol.message import Message
from protocol.modules.attributes import AttributesPlan
from protocol.modules.comparability import ComparabilityPlan
from protocol.modules.markers import MarkersPlan
from protocol.modules.names import ModuleName
from protocol.modules.specification import SpecificationPlan


class Modules(Message):
    """What the study asks for beside composition and potency; absent: not asked (SPEC 8.1)."""

    markers: MarkersPlan | None = None
    attributes: AttributesPlan | None = None
    comparability: ComparabilityPlan | None = None
    specification: SpecificationPlan | None = None

    @property
    def names(self) -> frozenset[ModuleName]:
        """The modules that are asked for."""
        return frozenset(name for name in ModuleName if getattr(self, name.value) is not None)

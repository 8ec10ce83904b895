"""Which cells count, and when a lot is not reported, in plain values.

A study says so in its plan (``protocol.plan.QualityLimits``); a file is also mapped without a study, and loading the
plan's models takes longer than starting Python.
"""

from typing import Annotated, Final, Protocol

from msgspec import Meta, Struct


class CellLimits(Protocol):
    """What the limits of a plan and ``DEFAULT_LIMITS`` have in common."""

    @property
    def minimum_cells_per_lot(self) -> int:
        """A lot with fewer cells is not reported."""
        ...

    @property
    def minimum_counts_per_cell(self) -> int:
        """A cell with fewer counts does not count."""
        ...

    @property
    def minimum_genes_per_cell(self) -> int:
        """A cell with fewer genes does not count."""
        ...

    @property
    def maximum_mitochondrial_share(self) -> float:
        """A cell with a larger share of mitochondrial counts does not count."""
        ...

    @property
    def minimum_gene_coverage(self) -> float:
        """A lot whose file has a smaller share of the atlas's genes is not reported."""
        ...


class PlainLimits(Struct, frozen=True, kw_only=True):
    """Limits as plain values; nothing checks them as they are made: their bounds are the plan's to check."""

    minimum_cells_per_lot: int
    minimum_counts_per_cell: int
    minimum_genes_per_cell: int
    maximum_mitochondrial_share: Annotated[float, Meta(ge=0, le=1)]
    minimum_gene_coverage: Annotated[float, Meta(ge=0, le=1)]


DEFAULT_LIMITS: Final = PlainLimits(
    minimum_cells_per_lot=500,
    minimum_counts_per_cell=0,
    minimum_genes_per_cell=0,
    maximum_mitochondrial_share=1.0,
    minimum_gene_coverage=0.7,
)
"""What a plan that says nothing asks for: every cell with counts remains."""


def limits_of_counts(limits: CellLimits) -> tuple[str, ...]:
    """Return the limits of quality that only counts can be held to, by their names in a plan."""
    asked = {
        "quality.minimum_counts_per_cell": limits.minimum_counts_per_cell > 0,
        "quality.minimum_genes_per_cell": limits.minimum_genes_per_cell > 0,
        "quality.maximum_mitochondrial_share": limits.maximum_mitochondrial_share < 1,
    }
    return tuple(name for name, is_set in asked.items() if is_set)

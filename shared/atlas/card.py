"""The card of an atlas: every word in it, from gene names to where it came from, as one strict document.

Rules. Nothing here names a reference lot (lots are ``reference-1``, ``reference-2``, ... in the order of their sorted
names), a path, a person or a cell. Unknown fields are refused. Text is bounded, so that a hostile card costs little.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAXIMUM_GENES = 20_000
MAXIMUM_CLUSTERS = 256

Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A printable name of at most 64 characters."""

GeneName = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A gene's identifier or symbol; empty where the reference did not carry it."""

Sentence = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Part(BaseModel):
    """What all parts of the card share: frozen, strict, without unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Marker(_Part):
    """A gene that is higher in its cluster than in the rest of the reference.

    ``log2_fold_change`` compares mean normalised counts; ``share_in`` and ``share_out`` are the shares of cells that
    show the gene, inside and outside the cluster.
    """

    gene: GeneName
    log2_fold_change: float
    share_in: Annotated[float, Field(ge=0, le=1)]
    share_out: Annotated[float, Field(ge=0, le=1)]


class DroppedCluster(_Part):
    """A label of the reference that the atlas does not know, and why."""

    cluster: Word
    cells: Annotated[int, Field(ge=0)]
    reason: Sentence


class Transfer(_Part):
    """How well the atlas transfers to a lot that it has not seen, by leaving one reference lot out (LOLO).

    ``lots`` counts the lots that were left out; 0 means that nothing could be measured (``reason`` says why).
    ``accuracy`` is the mean over those lots of the share of cells given their label, before any is left unassigned;
    ``total_variation`` the mean over lots of half the summed absolute errors of the shares; ``interval_calibrated``
    says whether intervals of shares rest on enough lots. ``unassigned_log_odds``, ``novel_log_odds`` and their spreads
    are means and standard deviations over the lots left out (``shared.atlas.proportions``); None below three lots.
    """

    lots: Annotated[int, Field(ge=0)]
    accuracy: Annotated[float, Field(ge=0, le=1)] | None
    worst_accuracy: Annotated[float, Field(ge=0, le=1)] | None
    total_variation: Annotated[float, Field(ge=0, le=1)] | None
    worst_total_variation: Annotated[float, Field(ge=0, le=1)] | None
    unassigned_share: Annotated[float, Field(ge=0, le=1)] | None
    unassigned_log_odds: float | None
    unassigned_log_odds_spread: Annotated[float, Field(ge=0)] | None
    novel_log_odds: float | None
    novel_log_odds_spread: Annotated[float, Field(ge=0)] | None
    interval_calibrated: bool
    reason: Sentence | None = None


class NoveltySettings(_Part):
    """How a cell's energy is made (``shared.atlas.novelty``), and when it means that the cell is of no cluster.

    A cell is novel above ``quantile`` of the energies of left-out cells. It is unassigned if it is novel and its
    confidence is below ``confidence``: a shift of the whole lot makes many cells novel whose cluster is still plain.
    """

    temperature: Annotated[float, Field(ge=0.01, le=1_000)]
    energy_weight: Annotated[float, Field(ge=0, le=1e6)]
    distance_weight: Annotated[float, Field(ge=0, le=1e6)]
    quantile: Annotated[float, Field(gt=0.5, lt=1)]
    confidence: Annotated[float, Field(gt=0, le=1)]


class Parameter(_Part):
    """One setting of the method, as text."""

    name: Word
    value: Word


class Provenance(_Part):
    """Where an atlas comes from, in so far as a reader may know."""

    crosslot: Word
    method: Sentence
    labels: Literal["owner", "leiden"]
    seed: Annotated[int, Field(ge=0)]
    cells: Annotated[int, Field(ge=1)]
    lots: Annotated[int, Field(ge=1)]
    genes_in_files: Annotated[int, Field(ge=1)]
    tissue: Word | None = None
    species: Word | None = None
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=64)] = ()
    notes: Annotated[tuple[Sentence, ...], Field(max_length=64)] = ()


class Control(_Part):
    """The obs column and value that mark the cells of control wells, in the reference and at every site."""

    column: Word
    value: Word


class Card(_Part):
    """Names and history of an atlas. The order of ``clusters`` and genes is the order of its arrays."""

    schema_id: Literal["crosslot.atlas/1"] = Field(default="crosslot.atlas/1", alias="schema")
    name: Word
    modality: Literal["counts", "morphology"] = "counts"
    control: Control | None = None  # of morphology: which cells are of control wells; absent from the text otherwise
    clusters: Annotated[tuple[Word, ...], Field(min_length=2, max_length=MAXIMUM_CLUSTERS)]
    gene_ids: Annotated[tuple[GeneName, ...], Field(min_length=1, max_length=MAXIMUM_GENES)]
    gene_symbols: Annotated[tuple[GeneName, ...], Field(min_length=1, max_length=MAXIMUM_GENES)]
    target_sum: Annotated[float, Field(gt=0, le=1e9)]
    temperature: Annotated[float, Field(ge=0.01, le=100)]
    novelty: NoveltySettings
    transfer: Transfer
    markers: Annotated[tuple[tuple[Marker, ...], ...], Field(max_length=MAXIMUM_CLUSTERS)]
    stability: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(max_length=MAXIMUM_CLUSTERS)] | None
    dropped: Annotated[tuple[DroppedCluster, ...], Field(max_length=10_000)] = ()
    provenance: Provenance

    def to_text(self) -> str:
        """Return the card's one and only text."""
        return self.model_dump_json(by_alias=True, exclude={"control"} if self.control is None else None)

    @model_validator(mode="after")
    def _control_is_of_morphology(self) -> Self:
        if (self.modality == "morphology") != (self.control is not None):
            raise ValueError("expected the control wells of a morphology atlas, and of no other")
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if len(set(self.clusters)) != len(self.clusters):
            raise ValueError("clusters: expected distinct names, found one twice")
        if len(self.gene_ids) != len(self.gene_symbols):
            raise ValueError("expected as many gene ids as gene symbols (either may be empty text)")
        for what, names in (("gene_ids", self.gene_ids), ("gene_symbols", self.gene_symbols)):
            named = [name for name in names if name]
            if len(set(named)) != len(named):
                raise ValueError(f"{what}: expected distinct names, found one twice")
        if not all(gene_id or symbol for gene_id, symbol in zip(self.gene_ids, self.gene_symbols, strict=True)):
            raise ValueError("expected an id or a symbol for every gene")
        if len(self.markers) != len(self.clusters):
            raise ValueError("expected one list of markers for every cluster (it may be empty)")
        if self.stability is not None and len(self.stability) != len(self.clusters):
            raise ValueError("expected one stability for every cluster, or none at all")
        return self

"""The card of an atlas: every word in it, from gene names to where it came from, as one strict document.

Rules. Nothing here names a reference lot (lots are ``reference-1``, ``reference-2``, ... in the order of their sorted
names), a path, a person or a cell. Unknown fields are refused. Text is bounded, so that a hostile card costs little.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from shared.records import Count, MisfitError, Record, Text, Within

MAXIMUM_GENES = 20_000
MAXIMUM_CLUSTERS = 256

Word = Annotated[str, Text(shortest=1, longest=64)]
"""A printable name of at most 64 characters."""

GeneName = Annotated[str, Text(longest=64)]
"""A gene's identifier or symbol; empty where the reference did not carry it."""

Sentence = Annotated[str, Text(shortest=1, longest=1_000)]


class Marker(Record):
    """A gene that is higher in its cluster than in the rest of the reference.

    ``log2_fold_change`` compares mean normalised counts; ``share_in`` and ``share_out`` are the shares of cells that
    show the gene, inside and outside the cluster.
    """

    gene: GeneName
    log2_fold_change: float
    share_in: Annotated[float, Within(ge=0, le=1)]
    share_out: Annotated[float, Within(ge=0, le=1)]


class DroppedCluster(Record):
    """A label of the reference that the atlas does not know, and why."""

    cluster: Word
    cells: Annotated[int, Within(ge=0)]
    reason: Sentence


class Transfer(Record):
    """How well the atlas transfers to a lot that it has not seen, by leaving one reference lot out (LOLO).

    ``lots`` counts the lots that were left out; 0 means that nothing could be measured (``reason`` says why).
    ``accuracy`` is the mean over those lots of the share of cells given their label, before any is left unassigned;
    ``total_variation`` the mean over lots of half the summed absolute errors of the shares; ``interval_calibrated``
    says whether intervals of shares rest on enough lots. ``unassigned_log_odds``, ``novel_log_odds`` and their spreads
    are means and standard deviations over the lots left out (``shared.atlas.proportions``); None below three lots.
    """

    lots: Annotated[int, Within(ge=0)]
    accuracy: Annotated[float, Within(ge=0, le=1)] | None
    worst_accuracy: Annotated[float, Within(ge=0, le=1)] | None
    total_variation: Annotated[float, Within(ge=0, le=1)] | None
    worst_total_variation: Annotated[float, Within(ge=0, le=1)] | None
    unassigned_share: Annotated[float, Within(ge=0, le=1)] | None
    unassigned_log_odds: float | None
    unassigned_log_odds_spread: Annotated[float, Within(ge=0)] | None
    novel_log_odds: float | None
    novel_log_odds_spread: Annotated[float, Within(ge=0)] | None
    interval_calibrated: bool
    reason: Sentence | None = None


class NoveltySettings(Record):
    """How a cell's energy is made (``shared.atlas.novelty``), and when it means that the cell is of no cluster.

    A cell is novel above ``quantile`` of the energies of left-out cells. It is unassigned if it is novel and its
    confidence is below ``confidence``: a shift of the whole lot makes many cells novel whose cluster is still plain.
    """

    temperature: Annotated[float, Within(ge=0.01, le=1_000)]
    energy_weight: Annotated[float, Within(ge=0, le=1e6)]
    distance_weight: Annotated[float, Within(ge=0, le=1e6)]
    quantile: Annotated[float, Within(gt=0.5, lt=1)]
    confidence: Annotated[float, Within(gt=0, le=1)]


class Parameter(Record):
    """One setting of the method, as text."""

    name: Word
    value: Word


class Provenance(Record):
    """Where an atlas comes from, in so far as a reader may know."""

    crosslot: Word
    method: Sentence
    labels: Literal["owner", "leiden"]
    seed: Annotated[int, Within(ge=0)]
    cells: Annotated[int, Within(ge=1)]
    lots: Annotated[int, Within(ge=1)]
    genes_in_files: Annotated[int, Within(ge=1)]
    tissue: Word | None = None
    species: Word | None = None
    parameters: Annotated[tuple[Parameter, ...], Count(most=64)] = ()
    notes: Annotated[tuple[Sentence, ...], Count(most=64)] = ()


class Control(Record):
    """The obs column and value that mark the cells of control wells, in the reference and at every site."""

    column: Word
    value: Word


class Card(Record):
    """Names and history of an atlas. The order of ``clusters`` and genes is the order of its arrays."""

    RENAMED: ClassVar[Mapping[str, str]] = {"schema_id": "schema"}

    schema_id: Literal["crosslot.atlas/1"] = "crosslot.atlas/1"
    name: Word
    modality: Literal["counts", "morphology"] = "counts"
    control: Control | None = None  # of morphology: which cells are of control wells; absent from the text otherwise
    clusters: Annotated[tuple[Word, ...], Count(fewest=2, most=MAXIMUM_CLUSTERS)]
    gene_ids: Annotated[tuple[GeneName, ...], Count(fewest=1, most=MAXIMUM_GENES)]
    gene_symbols: Annotated[tuple[GeneName, ...], Count(fewest=1, most=MAXIMUM_GENES)]
    target_sum: Annotated[float, Within(gt=0, le=1e9)]
    temperature: Annotated[float, Within(ge=0.01, le=100)]
    novelty: NoveltySettings
    transfer: Transfer
    markers: Annotated[tuple[tuple[Marker, ...], ...], Count(most=MAXIMUM_CLUSTERS)]
    stability: Annotated[tuple[Annotated[float, Within(ge=0, le=1)], ...], Count(most=MAXIMUM_CLUSTERS)] | None
    dropped: Annotated[tuple[DroppedCluster, ...], Count(most=10_000)] = ()
    provenance: Provenance

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - each by its annotation
        super().__init__(**values)
        if (self.modality == "morphology") != (self.control is not None):
            raise MisfitError("expected the control wells of a morphology atlas, and of no other")
        self._check_names()

    def to_text(self) -> str:
        """Return the card's one and only text."""
        # By this library because the text of a number is part of an atlas's identity; loaded where one is written.
        from pydantic_core import to_json  # noqa: PLC0415 - as above

        document = self.to_fields()
        if self.control is None:
            del document["control"]
        return to_json(document).decode("utf-8")

    def _check_names(self) -> None:
        if len(set(self.clusters)) != len(self.clusters):
            raise MisfitError("clusters: expected distinct names, found one twice")
        if len(self.gene_ids) != len(self.gene_symbols):
            raise MisfitError("expected as many gene ids as gene symbols (either may be empty text)")
        for what, names in (("gene_ids", self.gene_ids), ("gene_symbols", self.gene_symbols)):
            named = [name for name in names if name]
            if len(set(named)) != len(named):
                raise MisfitError(f"{what}: expected distinct names, found one twice")
        if not all(gene_id or symbol for gene_id, symbol in zip(self.gene_ids, self.gene_symbols, strict=True)):
            raise MisfitError("expected an id or a symbol for every gene")
        if len(self.markers) != len(self.clusters):
            raise MisfitError("expected one list of markers for every cluster (it may be empty)")
        if self.stability is not None and len(self.stability) != len(self.clusters):
            raise MisfitError("expected one stability for every cluster, or none at all")

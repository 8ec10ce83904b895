"""The card of an atlas: every word in it, from gene names to where it came from, as one strict document.

Rules.
1. Nothing here names a reference lot (lots are ``reference-1``, ``reference-2``, ... in the order of their sorted
   names), a path, a person or a cell. Text is bounded and printable, so that a hostile card costs little.
2. A value is of its annotated kind or refused: no text becomes a number, no truth value an integer, and every number is
   finite. A field that is unknown or missing is refused.
3. A card that is read is checked as it is read; one that is made in code, when ``checked`` or written.

By msgspec, for an atlas is read before the first cell is mapped, and it loads in a fraction of pydantic's time.
"""

import sys
from typing import Annotated, Any, Literal, Self

import msgspec

MAXIMUM_GENES = 20_000
MAXIMUM_CLUSTERS = 256

PRINTABLE = r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z"
"""What a text may be: no control character, and no half of a surrogate."""

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=PRINTABLE)]
"""A printable name of at most 64 characters."""

GeneName = Annotated[str, msgspec.Meta(max_length=64, pattern=PRINTABLE)]
"""A gene's identifier or symbol; empty where the reference did not carry it."""

Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, pattern=PRINTABLE)]

Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""A number that is neither infinite nor NaN, which no bound lets pass."""

Spread = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
"""A finite number of at least 0."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a card, its parts, and other documents of the mapper (``summary.json``) have in common."""

    def checked(self) -> Self:
        """Return the same, as it would be read: held to its annotations, which making it does not do.

        Raises
        ------
        TypeError, ValueError
            A value is of no kind that a document has, or breaks its rule.
        """
        return msgspec.convert(msgspec.to_builtins(self), type(self))

    def replaced(self, **changes: Any) -> Self:  # noqa: ANN401 - each by its annotation
        """Return the same with other values in some fields, checked."""
        return msgspec.structs.replace(self, **changes).checked()


class Marker(Part, frozen=True, kw_only=True):
    """A gene that is higher in its cluster than in the rest of the reference.

    ``log2_fold_change`` compares mean normalised counts; ``share_in`` and ``share_out`` are the shares of cells that
    show the gene, inside and outside the cluster.
    """

    gene: GeneName
    log2_fold_change: Finite
    share_in: Share
    share_out: Share


class DroppedCluster(Part, frozen=True, kw_only=True):
    """A label of the reference that the atlas does not know, and why."""

    cluster: Word
    cells: Annotated[int, msgspec.Meta(ge=0)]
    reason: Sentence


class Transfer(Part, frozen=True, kw_only=True):
    """How well the atlas transfers to a lot that it has not seen, by leaving one reference lot out (LOLO).

    ``lots`` counts the lots that were left out; 0 means that nothing could be measured (``reason`` says why).
    ``accuracy`` is the mean over those lots of the share of cells given their label, before any is left unassigned;
    ``total_variation`` the mean over lots of half the summed absolute errors of the shares; ``interval_calibrated``
    says whether intervals of shares rest on enough lots. ``unassigned_log_odds``, ``novel_log_odds`` and their spreads
    are means and standard deviations over the lots left out (``shared.atlas.proportions``); None below three lots.
    """

    lots: Annotated[int, msgspec.Meta(ge=0)]
    accuracy: Share | None
    worst_accuracy: Share | None
    total_variation: Share | None
    worst_total_variation: Share | None
    unassigned_share: Share | None
    unassigned_log_odds: Finite | None
    unassigned_log_odds_spread: Spread | None
    novel_log_odds: Finite | None
    novel_log_odds_spread: Spread | None
    interval_calibrated: bool
    reason: Sentence | None = None


class NoveltySettings(Part, frozen=True, kw_only=True):
    """How a cell's energy is made (``shared.atlas.novelty``), and when it means that the cell is of no cluster.

    A cell is novel above ``quantile`` of the energies of left-out cells. It is unassigned if it is novel and its
    confidence is below ``confidence``: a shift of the whole lot makes many cells novel whose cluster is still plain.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=1_000)]
    energy_weight: Annotated[float, msgspec.Meta(ge=0, le=1e6)]
    distance_weight: Annotated[float, msgspec.Meta(ge=0, le=1e6)]
    quantile: Annotated[float, msgspec.Meta(gt=0.5, lt=1)]
    confidence: Annotated[float, msgspec.Meta(gt=0, le=1)]


class Parameter(Part, frozen=True, kw_only=True):
    """One setting of the method, as text."""

    name: Word
    value: Word


class Provenance(Part, frozen=True, kw_only=True):
    """Where an atlas comes from, in so far as a reader may know."""

    crosslot: Word
    method: Sentence
    labels: Literal["owner", "leiden"]
    seed: Annotated[int, msgspec.Meta(ge=0)]
    cells: Annotated[int, msgspec.Meta(ge=1)]
    lots: Annotated[int, msgspec.Meta(ge=1)]
    genes_in_files: Annotated[int, msgspec.Meta(ge=1)]
    tissue: Word | None = None
    species: Word | None = None
    parameters: Annotated[tuple[Parameter, ...], msgspec.Meta(max_length=64)] = ()
    notes: Annotated[tuple[Sentence, ...], msgspec.Meta(max_length=64)] = ()


class Control(Part, frozen=True, kw_only=True):
    """The obs column and value that mark the cells of control wells, in the reference and at every site."""

    column: Word
    value: Word


class Card(Part, frozen=True, kw_only=True):
    """Names and history of an atlas. The order of ``clusters`` and genes is the order of its arrays."""

    schema_id: Literal["crosslot.atlas/1"] = msgspec.field(default="crosslot.atlas/1", name="schema")
    name: Word
    modality: Literal["counts", "morphology"] = "counts"
    control: Control | None = None  # of morphology: which cells are of control wells; absent from the text otherwise
    clusters: Annotated[tuple[Word, ...], msgspec.Meta(min_length=2, max_length=MAXIMUM_CLUSTERS)]
    gene_ids: Annotated[tuple[GeneName, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_GENES)]
    gene_symbols: Annotated[tuple[GeneName, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_GENES)]
    target_sum: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=100)]
    novelty: NoveltySettings
    transfer: Transfer
    markers: Annotated[tuple[tuple[Marker, ...], ...], msgspec.Meta(max_length=MAXIMUM_CLUSTERS)]
    stability: Annotated[tuple[Share, ...], msgspec.Meta(max_length=MAXIMUM_CLUSTERS)] | None
    dropped: Annotated[tuple[DroppedCluster, ...], msgspec.Meta(max_length=10_000)] = ()
    provenance: Provenance

    def __post_init__(self) -> None:
        if (self.modality == "morphology") != (self.control is not None):
            raise ValueError("expected the control wells of a morphology atlas, and of no other")
        self._check_names()

    @classmethod
    def from_text(cls, text: bytes) -> "Card":
        """Return the card that a JSON text describes.

        Raises
        ------
        ValueError
            It is no JSON text, or msgspec's ``ValidationError``: a field is unknown, missing, or breaks its rule.
        """
        return _CARDS.decode(text)

    def to_text(self) -> str:
        """Return the card's one and only text.

        Raises
        ------
        TypeError, ValueError
            As ``checked``.
        """
        # By this library because the text of a number is part of an atlas's identity; loaded where one is written.
        from pydantic_core import to_json  # noqa: PLC0415 - as above

        document = msgspec.to_builtins(self.checked())
        if self.control is None:
            del document["control"]
        return to_json(document).decode("utf-8")

    def _check_names(self) -> None:
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


_CARDS = msgspec.json.Decoder(Card)

"""From a site's folder to lot reports: the one place where the cells' wing and the release wing meet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from protocol.errors import ErrorCode, ProtocolError
from protocol.plan import QualityLimits
from protocol.policy import EffectiveRules
from protocol.pseudonyms import NameKind, pseudonym
from protocol.report import LotReport, Software
from shared.atlas.artefact import from_bytes, sha256
from site_agent.cells.lot_mapping import LotMapping, WithheldReason, map_site_lots
from site_agent.cells.lots import Lot, SiteLots
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import Provenance
from site_agent.release.noise_book import NoiseBook
from site_agent.release.offers import NotOffered, Offer
from site_agent.release.summaries import MappedLot, provenance_of, summarise

MAPPER = "crosslot-linear/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class LotOutcome:
    """One lot as it was mapped, and its report; ``withheld`` says why there is none."""

    lot: Lot
    mapping: LotMapping
    report: LotReport | None
    made_of: Provenance | None = None
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderReports:
    """The source of reports of a site whose lots lie in a folder.

    Attributes
    ----------
    site : SiteLots
        The folder, read without a problem.
    atlas : bytes
        The atlas file as it came; it is read only if it is the one that the plan names.
    secret : bytes
        The site's secret for pseudonyms.
    done : callable
        Called as each lot is done.
    log : callable
        Takes lines for the site's own log: what happened to its lots.
    threads : int, optional
        Worker threads of the mapper.
    noise : NoiseBook, optional
        The site's book of noise; without one, noise that the policy asks for is drawn and forgotten, as an example.
    """

    site: SiteLots
    atlas: bytes
    secret: bytes
    done: Callable[[Lot], None]
    log: Callable[[str], None]
    threads: int | None = None
    noise: NoiseBook = field(default_factory=lambda: NoiseBook(MemoryLog()))

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer | NotOffered]:
        """Return the report of every lot and what it was made of; of one beyond the study's quality limits, why not."""
        offers: list[Offer | NotOffered] = []
        for outcome in self.outcomes(rules):
            if outcome.report is None:
                self.log(f"lot {outcome.lot.lot} is not reported: {', '.join(outcome.withheld)}")
                named = pseudonym(self.secret, study=rules.plan.study, kind=NameKind.LOT, name=outcome.lot.lot)
                offers.append(NotOffered(lot=named, reasons=_reasons(outcome, rules.plan.quality)))
            else:
                offers.append(Offer(report=outcome.report, provenance=outcome.made_of))
        return offers

    def outcomes(self, rules: EffectiveRules) -> Iterator[LotOutcome]:
        """Yield every lot as it was mapped, with its report or why there is none.

        Raises
        ------
        ProtocolError
            The atlas is not the one that the plan names.
        InputError
            A file cannot be read or mapped, or a lot does not fit the plan.
        """
        if sha256(self.atlas) != rules.plan.atlas.sha256:
            raise ProtocolError(ErrorCode.ATLAS_MISMATCH, hint="fetch the study's atlas again")
        limits = rules.plan.quality
        software = Software(crosslot=version("crosslot"), mapper=MAPPER)
        for lot, mapping in map_site_lots(
            self.site,
            from_bytes(self.atlas),
            limits,
            markers=rules.plan.modules.markers if rules.noise is None else None,
            threads=self.threads,
        ):
            self.done(lot)
            withheld = mapping.withheld(limits)
            report = made_of = None
            if not withheld:
                exact = mapped_lot(mapping)
                made_of = provenance_of(exact, lot, self.secret)
                counted, made_of = self.noise.noised(exact, made_of, rules, self.secret)
                report = summarise(
                    counted,
                    lot,
                    self.site.potency[lot.lot],
                    rules=rules,
                    secret=self.secret,
                    software=software,
                    attributes=self.site.attributes.get(lot.lot, ()),
                )
            yield LotOutcome(lot=lot, mapping=mapping, report=report, made_of=made_of, withheld=tuple(withheld))


def _reasons(outcome: LotOutcome, limits: QualityLimits) -> tuple[str, ...]:
    """Return why the study's limits of quality do not admit a lot, for the site's own people."""
    mapping = outcome.mapping
    words = {
        WithheldReason.TOO_FEW_CELLS: (
            f"{mapping.cells_after_qc:,} cells after QC; the study asks for {limits.minimum_cells_per_lot:,}."
        ),
        WithheldReason.LOW_GENE_COVERAGE: (
            f"{mapping.gene_coverage:.0%} of the atlas's genes; the study asks for {limits.minimum_gene_coverage:.0%}."
        ),
    }
    return tuple(sentence for reason, sentence in words.items() if reason in outcome.withheld)


def mapped_lot(mapping: LotMapping) -> MappedLot:
    """Return the numbers of a mapped lot that its report is made of."""
    featured = mapping.medians.features is not None
    return MappedLot(
        counts=tuple(int(count) for count in mapping.counts),
        unassigned=mapping.unassigned,
        cells_after_qc=mapping.cells_after_qc,
        median_counts=None if featured else mapping.medians.counts or 0.0,
        median_genes=None if featured else mapping.medians.genes or 0.0,
        median_features=mapping.medians.features,
        median_mitochondrial_share=mapping.medians.mitochondrial_share,
        gene_coverage=mapping.gene_coverage,
        moments=None if mapping.markers is None else mapping.markers.moments,
        high_cells=None if mapping.markers is None else mapping.markers.high_cells,
    )

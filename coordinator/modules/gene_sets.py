"""Gene sets from a GMT file, and their over-representation among a study's markers.

A GMT file has one set a line, parts divided by tabs: its name, a description, and its genes (the format of the
Molecular Signatures Database). The background is the genes that the study tested in the cluster, never a genome: of
what is not on the allow-list nothing can be said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.modules.markers_results import ClusterMarkers, MarkersResults
from shared.errors import InputError, ProblemsError
from shared.statistics.enrichment import Enrichment, enrich

GMT_LIMIT = 64 * 1024 * 1024
_FEWEST_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class EnrichedSet:
    """One gene set among the genes that are higher, or lower, in one cluster."""

    cluster: str
    direction: str
    enrichment: Enrichment


def read_gene_sets(data: bytes, *, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return the genes of each set of a GMT file, by the set's name.

    Raises
    ------
    ProblemsError
        With every line that is no set, or a name that stands twice.
    InputError
        If it is not text, or holds no set.
    """
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(
            f"{name}: expected text in UTF-8, found other bytes", hint="give the .gmt file itself, unpacked"
        ) from None
    sets: dict[str, tuple[str, ...]] = {}
    problems: list[InputError] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("\t")]
        genes = tuple(dict.fromkeys(part for part in parts[2:] if part))
        if len(parts) < _FEWEST_PARTS or not parts[0] or not genes:
            problems.append(
                InputError(
                    f"{name}, line {number}: expected a name, a description and genes, divided by tabs, found "
                    f"{len(parts)} {'part' if len(parts) == 1 else 'parts'}",
                    hint="a GMT file has one set a line; spaces do not divide",
                )
            )
        elif parts[0] in sets:
            problems.append(InputError(f"{name}, line {number}: expected each set once, found {parts[0]} again"))
        else:
            sets[parts[0]] = genes
    if problems:
        raise ProblemsError(name, problems)
    if not sets:
        raise InputError(f"{name}: expected gene sets, found none", hint="a GMT file has one set a line")
    return sets


def enriched_sets(
    markers: MarkersResults, sets: Mapping[str, Iterable[str]], *, alpha: float, cluster: str | None = None
) -> tuple[EnrichedSet, ...]:
    """Return every set in every cluster and direction, best first within each; q over the sets of one of these.

    Raises
    ------
    InputError
        If there is no such cluster, or no set holds two genes of the background.
    """
    names = [each.cluster for each in markers.clusters]
    if cluster is not None and cluster not in names:
        raise InputError(f"--cluster: expected one of {', '.join(names)}, found {cluster}")
    chosen = [each for each in markers.clusters if cluster in {None, each.cluster}]
    whole = {name: frozenset(genes) for name, genes in sets.items()}
    found = tuple(
        EnrichedSet(cluster=each.cluster, direction=direction, enrichment=enrichment)
        for each in chosen
        for direction, genes in _directions(each, alpha)
        for enrichment in enrich(genes, _background(each), whole)
    )
    if not found:
        raise InputError(
            "expected gene sets with at least 2 of the genes that the study tested, found none",
            hint="are genes named alike, symbols or Ensembl ids? the background is the plan's allow-list",
        )
    return found


def _background(cluster: ClusterMarkers) -> list[str]:
    return [row.gene for row in cluster.rows if row.p_value is not None]


def _directions(cluster: ClusterMarkers, alpha: float) -> Iterable[tuple[str, list[str]]]:
    passing = [row for row in cluster.rows if row.q_value is not None and row.q_value <= alpha]
    yield "higher", [row.gene for row in passing if (row.difference or 0.0) > 0]
    yield "lower", [row.gene for row in passing if (row.difference or 0.0) < 0]

"""The wells of a potency table as endpoints: an assay is an endpoint, and has one unit.

An assay with rows of the reference standard is read relative to it, and then every run in which a lot was measured
needs the reference. Every lot needs a value of some assay, and every value a lot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.study_data import PotencyReplicates
from coordinator.table_values import slug_of
from protocol.identifiers import EndpointId
from protocol.plan import Endpoint, Normalisation
from shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Well:
    """One row of a potency table; ``lot`` is empty for the reference standard."""

    where: str
    lot: str
    assay: str
    unit: str
    run: str
    replicate: str
    value: float
    is_reference: bool


def endpoints_of(
    wells: Sequence[Well],
    lots: Sequence[str],
    *,
    known: Sequence[str],
    names: tuple[str, str],
    problems: list[InputError],
) -> tuple[tuple[Endpoint, ...], dict[str, PotencyReplicates]]:
    """Return the endpoints in the order of their first row, and their replicates for each of ``lots``.

    Parameters
    ----------
    known : sequence of str
        Every lot of the counts table, those with problems of their own included.
    problems : list of InputError
        What is wrong is appended.
    """
    measured = {well.lot for well in wells if not well.is_reference}
    problems.extend(
        InputError(
            f"{well.where}, column lot: expected a lot of {names[0]}, found {well.lot!r}",
            hint=f"add the lot to {names[0]}, or take the row out",
        )
        for well in wells
        if not well.is_reference and well.lot not in known
    )
    problems.extend(
        InputError(
            f"{names[0]}, lot {lot}: expected a potency in {names[1]}, found none",
            hint="measure the lot, or take it out",
        )
        for lot in lots
        if lot not in measured
    )
    _check_replicates(wells, problems)
    endpoints: list[Endpoint] = []
    replicates: dict[str, PotencyReplicates] = {}
    for assay in dict.fromkeys(well.assay for well in wells):
        own = [well for well in wells if well.assay == assay]
        slug = slug_of(assay, f"{own[0].where}, column assay", problems)
        units = sorted({well.unit for well in own})
        if len(units) > 1:
            problems.append(
                InputError(
                    f"{names[1]}, assay {assay}: expected one unit, found {', '.join(units)}",
                    hint="bring the values to one unit: values of different units cannot be ranked together",
                )
            )
        if slug in replicates:
            problems.append(
                InputError(f"{names[1]}: expected assays whose names differ in letters or digits, found {assay} again")
            )
        if not slug:
            continue
        relative = any(well.is_reference for well in own)
        endpoints.append(
            Endpoint(
                endpoint=EndpointId(slug),
                assay=assay,
                unit=units[0],
                normalisation=Normalisation.RUN_REFERENCE if relative else Normalisation.NONE,
            )
        )
        replicates[slug] = PotencyReplicates(runs=tuple(_runs(own, lot, relative, problems) for lot in lots))
    return tuple(endpoints), replicates


def _runs(
    wells: Sequence[Well],
    lot: str,
    relative: bool,  # noqa: FBT001 - private
    problems: list[InputError],
) -> tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]:
    result = []
    for run in dict.fromkeys(well.run for well in wells if well.lot == lot and not well.is_reference):
        values = tuple(well.value for well in wells if well.run == run and well.lot == lot and not well.is_reference)
        reference = tuple(well.value for well in wells if well.run == run and well.is_reference)
        if relative and not reference:
            problems.append(
                InputError(
                    f"lot {lot}, assay {wells[0].assay}, run {run}: expected rows of the reference standard in this "
                    "run, found none",
                    hint="mark them is_reference = true, or give no reference for any run",
                )
            )
        result.append((run, values, reference))
    return tuple(result)


def _check_replicates(wells: Sequence[Well], problems: list[InputError]) -> None:
    seen: set[tuple[str, ...]] = set()
    for well in wells:
        key = (well.assay, well.lot, well.run, well.replicate, str(well.is_reference))
        if well.replicate != "-" and key in seen:
            problems.append(
                InputError(
                    f"{well.where}, column replicate: expected each replicate of a lot's run once, "
                    f"found {well.replicate!r} again"
                )
            )
        seen.add(key)

"""The noise that was drawn for each lot, and what of its budget is spent: kept by the site, in an append-only log.

1. **One draw for one table.** Noise is drawn once for the counts of a lot under an atlas and an epsilon, and is used
   again in every report of these counts, in any study: two draws could be averaged, and one costs its epsilon once.
2. **The budget is of a lot, over all studies and for ever.** Each cell is in one lot, so that the epsilons of all draws
   of a lot that left, added, bound what all reports together tell of a cell of it.
3. **Check, commit, release.** A draw that waits costs nothing. Before its report is sealed the budget is checked and
   the draw committed, in one step that no other writer comes between; what was committed is free from then on. So a
   process that is killed anywhere has spent nothing, or has spent once and sends the same noise when asked again.
4. **What left must stand here.** A book that lacks a draw of a report that was sent was cut or replaced: nothing leaves
   under noise until it is restored.

Epsilons are added as the decimals that people wrote.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.codec import canonical_json, decode, encode
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Digest, Sha256
from protocol.message import Message
from protocol.policy import EffectiveRules, NoisePolicy
from protocol.pseudonyms import keyed_fingerprint
from shared.errors import InputError, RefusedError
from site_agent.release.append_log import AppendLog
from site_agent.release.decisions import Held, Provenance
from site_agent.release.noise import Mechanism, discrete_laplace, noised_lot
from site_agent.release.summaries import MappedLot

_RECORD_LIMIT: Final = 16 * 1024
_ATTEMPTS: Final = 5  # the mappings and the agent append to one book; a loser reads again


class NoiseEvent(StrEnum):
    """What a record tells."""

    DRAWN = "drawn"  # noise was drawn; it has cost nothing yet
    COMMITTED = "committed"  # its epsilon is spent: a report with it may leave


class NoiseRecord(Message):
    """One record of the book; it stays at the site."""

    schema_id: Literal["crosslot.noise-record/1"] = Field(default="crosslot.noise-record/1", alias="schema")
    event: NoiseEvent
    draw_sha256: Digest  # of lot, atlas, epsilon and true counts, under the site's secret
    lot_sha256: Digest
    epsilon: Annotated[float, Field(gt=0)]
    noised: Annotated[tuple[int, ...], Field(max_length=257)] = ()  # of a draw: counts, unassigned last, as drawn


@dataclass(frozen=True, kw_only=True)
class NoiseStanding:
    """Where a report's noise stands.

    Attributes
    ----------
    noised
        The counts as drawn, unassigned last; they may be negative.
    epsilon
        What the draw costs, or has cost.
    spent_otherwise
        The epsilon of all other draws of the lot that were committed.
    committed
        Whether the draw is paid for.
    """

    noised: tuple[int, ...]
    epsilon: Decimal
    spent_otherwise: Decimal
    committed: bool


@dataclass(frozen=True, kw_only=True)
class _Draw:
    lot_sha256: Sha256
    epsilon: Decimal
    noised: tuple[int, ...]


class NoiseBook:
    """One site's draws of noise, and its lots' budgets.

    Parameters
    ----------
    log
        Where the records are kept: in a folder of the site or, for simulations, in memory.
    mechanism
        Draws the noise; another than opendp's only where a run must be one that can be had again.
    """

    def __init__(self, log: AppendLog, *, mechanism: Mechanism = discrete_laplace) -> None:
        self._log = log
        self._mechanism = mechanism
        self._draws: dict[Sha256, _Draw] = {}
        self._committed: set[Sha256] = set()
        self._known = 0

    def noised(
        self, mapped: MappedLot, made_of: Provenance, rules: EffectiveRules, secret: bytes
    ) -> tuple[MappedLot, Provenance]:
        """Return a lot as it is reported under the policy's noise, and its provenance with the draw named.

        The first time the noise is drawn and kept; after that it is the same.

        Parameters
        ----------
        mapped, made_of
            What the mapper found, exactly, and what it was made of.
        rules
            The rules in force; where they ask for no noise, the lot comes back as it is.
        secret
            The site's pseudonym secret.

        Raises
        ------
        InputError
            If the book is damaged.
        """
        if rules.noise is None:
            return mapped, made_of
        epsilon = rules.noise.epsilon_per_release
        counts = [*mapped.counts, mapped.unassigned]
        named = ["noise", made_of.lot_sha256, rules.plan.atlas.sha256, epsilon, counts]
        key = keyed_fingerprint(secret, canonical_json(named))
        for attempt in range(_ATTEMPTS):
            self._read()
            if key in self._draws:
                break
            noised = self._mechanism(counts, epsilon)
            record = NoiseRecord(
                event=NoiseEvent.DRAWN,
                draw_sha256=key,
                lot_sha256=made_of.lot_sha256,
                epsilon=epsilon,
                noised=noised,
            )
            self._append(record, last=attempt == _ATTEMPTS - 1)
        self._read()
        return noised_lot(mapped, self._draws[key].noised), replace(made_of, draw_sha256=key)

    def standing(self, made_of: Provenance | None) -> NoiseStanding | None:
        """Return where the noise of a report stands; None where the book has no draw for it.

        Raises
        ------
        InputError
            If the book is damaged.
        """
        self._read()
        if made_of is None or made_of.draw_sha256 is None:
            return None
        key = made_of.draw_sha256
        draw = self._draws.get(key)
        if draw is None or draw.lot_sha256 != made_of.lot_sha256:
            return None
        return NoiseStanding(
            noised=draw.noised,
            epsilon=draw.epsilon,
            spent_otherwise=self._spent(draw.lot_sha256, besides=key),
            committed=key in self._committed,
        )

    def commit(self, made_of: Provenance | None, noise: NoisePolicy) -> None:
        """Spend what a draw costs, if the lot's budget has it; what was spent before is not spent again.

        Raises
        ------
        ProtocolError
            If the lot's budget does not have it, or the book has no such draw.
        InputError
            If the book is damaged.
        """
        for attempt in range(_ATTEMPTS):
            standing = self.standing(made_of)
            if standing is None or made_of is None or made_of.draw_sha256 is None:
                raise ProtocolError(ErrorCode.DISCLOSURE_REFUSED, "The noise book has no draw for this report.")
            if standing.committed:
                return
            if not within_budget(standing, noise):
                raise ProtocolError(
                    ErrorCode.NOISE_BUDGET_SPENT,
                    f"The lot has spent {standing.spent_otherwise} of {noise.epsilon_budget}.",
                    hint="a larger epsilon_budget in the policy lets more be learnt of each cell of the lot",
                )
            record = NoiseRecord(
                event=NoiseEvent.COMMITTED,
                draw_sha256=made_of.draw_sha256,
                lot_sha256=made_of.lot_sha256,
                epsilon=float(standing.epsilon),
            )
            self._append(record, last=attempt == _ATTEMPTS - 1)

    def spent(self, lot_sha256: Sha256) -> Decimal:
        """Return the epsilon that was spent of a lot's budget, over all studies."""
        self._read()
        return self._spent(lot_sha256)

    def check_holds(self, sent: Iterable[Provenance | None]) -> None:
        """Return if the book has, and has paid for, the noise of everything that was sent.

        Raises
        ------
        InputError
            If it lacks some: it was cut, or another was put in its place.
        """
        self._read()
        for made_of in sent:
            if made_of is not None and made_of.draw_sha256 is not None and made_of.draw_sha256 not in self._committed:
                raise InputError(
                    "noise book: a report was sent whose noise it does not have",
                    hint="restore it from a backup; nothing is released under noise meanwhile",
                )

    def _spent(self, lot_sha256: Sha256, *, besides: Sha256 | None = None) -> Decimal:
        draws = (self._draws[key] for key in self._committed if key != besides)
        return sum((draw.epsilon for draw in draws if draw.lot_sha256 == lot_sha256), Decimal(0))

    def _append(self, record: NoiseRecord, *, last: bool) -> None:
        try:
            self._log.append(encode(record), position=self._known)
        except RefusedError:
            if last:
                raise

    def _read(self) -> None:
        # Only what is new is read: records are never changed.
        for data in self._log.read(self._known):
            try:
                self._enter(decode(NoiseRecord, data, limit=_RECORD_LIMIT))
            except ProtocolError as error:
                raise InputError(
                    f"noise book: record {self._known} is damaged: {error}",
                    hint="restore it from a backup; nothing is released under noise meanwhile",
                ) from None
            self._known += 1

    def _enter(self, record: NoiseRecord) -> None:
        key = record.draw_sha256
        fits = (key in self._draws) == (record.event is NoiseEvent.COMMITTED) and key not in self._committed
        if not fits:
            raise ProtocolError(ErrorCode.INVALID_FIELD, "It is drawn twice, or committed and not drawn.")
        if record.event is NoiseEvent.COMMITTED:
            self._committed.add(key)
        else:
            epsilon = Decimal(repr(record.epsilon))
            self._draws[key] = _Draw(lot_sha256=record.lot_sha256, epsilon=epsilon, noised=record.noised)


def within_budget(standing: NoiseStanding, noise: NoisePolicy) -> bool:
    """Return whether a draw is paid for, or the lot's budget has what it costs."""
    budget = Decimal(repr(noise.epsilon_budget))
    return standing.committed or standing.spent_otherwise + standing.epsilon <= budget


def pay_for_noise(
    book: NoiseBook, reports: Sequence[Held], noise: NoisePolicy, *, before: Callable[[Held], None]
) -> None:
    """Commit what the noise of each report costs; what was committed before costs nothing (SPEC 5.14).

    Parameters
    ----------
    book
        The site's.
    reports
        What is about to be sealed.
    noise
        The policy's.
    before
        Called before each cost that is new: it writes it down elsewhere.

    Raises
    ------
    ProtocolError
        If a lot's budget does not have it.
    """
    for each in reports:
        standing = book.standing(each.provenance)
        if standing is not None and not standing.committed and within_budget(standing, noise):
            before(each)
        book.commit(each.provenance, noise)

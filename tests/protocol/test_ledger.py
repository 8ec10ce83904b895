import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import sha256
from protocol.identifiers import Instant, SiteId, StudyId
from protocol.ledger import (
    Checkpoint,
    Head,
    LedgerError,
    LedgerEvent,
    LedgerRecord,
    checkpoint_of,
    head_of,
    seal_entry,
    verify_ledger,
)
from protocol.signing import SigningKey

KEY = SigningKey.from_seed(bytes(range(32)))
KYOTO = SiteId("kyoto")
AT = Instant("2026-11-20T08:00:00Z")


def _grown(
    length: int, *, start: tuple[bytes, ...] = (), key: SigningKey = KEY, site: SiteId = KYOTO
) -> tuple[bytes, ...]:
    envelopes = list(start)
    for number in range(len(start), length):
        record = LedgerRecord(event=LedgerEvent.ASKED, at=AT, subject_sha256=sha256(b"%d" % number))
        envelopes.append(seal_entry(record, head_of(envelopes), site=site, key=key))
    return tuple(envelopes)


LEDGER = _grown(6)


def _verify(envelopes: tuple[bytes, ...], *checkpoints: Checkpoint) -> int:
    return len(verify_ledger(envelopes, site="kyoto", key=KEY.verifying_key, checkpoints=checkpoints))


def _checkpoint(length: int) -> Checkpoint:
    return checkpoint_of(head_of(LEDGER[:length]), study=StudyId("vegf-2026"), site=KYOTO, at=AT)


def test_a_ledger_as_written_holds_at_every_length() -> None:
    for length in range(7):
        assert _verify(LEDGER[:length]) == length
        assert _grown(6, start=LEDGER[:length]) == LEDGER


@given(st.data())
@settings(max_examples=60)
def test_any_flipped_bit_is_found_at_its_entry(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 5))
    entry = bytearray(LEDGER[number])
    bit = data.draw(st.integers(0, len(entry) * 8 - 1))
    entry[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LedgerError) as caught:
        _verify((*LEDGER[:number], bytes(entry), *LEDGER[number + 1 :]))
    assert caught.value.number == number


def test_any_removed_entry_but_the_last_is_found() -> None:
    for number in range(5):
        with pytest.raises(LedgerError) as caught:
            _verify(LEDGER[:number] + LEDGER[number + 1 :])
        assert caught.value.number == number


def test_any_other_order_is_found() -> None:
    for order in itertools.permutations(LEDGER[:4]):
        if order == LEDGER[:4]:
            continue
        with pytest.raises(LedgerError):
            _verify(order)


def test_a_doubled_or_foreign_entry_is_found() -> None:
    others_key = SigningKey.from_seed(bytes(32))
    for number in range(6):
        with pytest.raises(LedgerError):
            _verify((*LEDGER[: number + 1], LEDGER[number], *LEDGER[number + 1 :]))
        record = LedgerRecord(event=LedgerEvent.RELEASED, at=AT)
        for site, key in ((KYOTO, others_key), (SiteId("leiden"), KEY)):
            foreign = seal_entry(record, head_of(LEDGER[:number]), site=site, key=key)
            with pytest.raises(LedgerError) as caught:
                _verify((*LEDGER[:number], foreign))
            assert caught.value.number == number


def test_an_entry_under_another_number_is_found() -> None:
    # Signed by the site and chained to the right entry, but numbered as if some had been left out between.
    record = LedgerRecord(event=LedgerEvent.ASKED, at=AT)
    head = Head(length=5, last_sha256=head_of(LEDGER[:3]).last_sha256)
    with pytest.raises(LedgerError) as caught:
        _verify((*LEDGER[:3], seal_entry(record, head, site=KYOTO, key=KEY)))
    assert caught.value.number == 3


def test_an_entry_that_was_replaced_by_another_of_its_number_is_found_at_the_next() -> None:
    # The site itself, with its own key, writes entry 2 anew and leaves what follows.
    record = LedgerRecord(event=LedgerEvent.REFUSED, at=AT)
    other = seal_entry(record, head_of(LEDGER[:2]), site=KYOTO, key=KEY)
    with pytest.raises(LedgerError) as caught:
        _verify((*LEDGER[:2], other, *LEDGER[3:]))
    assert caught.value.number == 3


def test_a_cut_tail_is_found_by_the_countersigned_checkpoint_and_only_by_it() -> None:
    assert _verify(LEDGER[:4]) == 4
    assert _verify(LEDGER, _checkpoint(6), _checkpoint(3)) == 6
    assert _verify(LEDGER[:4], _checkpoint(4)) == 4
    with pytest.raises(LedgerError) as caught:
        _verify(LEDGER[:4], _checkpoint(5))
    assert caught.value.number == 4


def test_a_tail_that_was_rewritten_is_found_by_the_checkpoint() -> None:
    # The site itself, with its own key, writes another history from entry 3 on.
    record = LedgerRecord(event=LedgerEvent.REFUSED, at=AT)
    rewritten = _grown(6, start=(*LEDGER[:3], seal_entry(record, head_of(LEDGER[:3]), site=KYOTO, key=KEY)))
    assert _verify(rewritten) == 6
    with pytest.raises(LedgerError) as caught:
        _verify(rewritten, _checkpoint(5))
    assert caught.value.number == 4


def test_the_checkpoint_of_another_site_says_nothing_here() -> None:
    other = checkpoint_of(head_of(LEDGER), study=StudyId("vegf-2026"), site=SiteId("leiden"), at=AT)
    assert _verify(LEDGER[:2], other) == 2


def test_an_empty_ledger_has_nothing_to_countersign() -> None:
    with pytest.raises(LedgerError):
        _checkpoint(0)

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.identifiers import StudyId
from protocol.pseudonyms import NameKind, pseudonym
from shared.errors import InputError

SECRET = bytes(range(32))


@given(st.text(max_size=30))
def test_a_pseudonym_is_the_head_of_the_hmac_of_study_kind_and_name(name: str) -> None:
    named = f'["vegf","lot",{_quoted(name)}]'.encode("utf-8", "surrogatepass")
    expected = hmac.new(SECRET, named, hashlib.sha256).hexdigest()[:16]
    assert pseudonym(SECRET, study=StudyId("vegf"), kind=NameKind.LOT, name=name) == expected


def _quoted(text: str) -> str:
    # RFC 8259, section 7: only the quote, the backslash and control characters need an escape.
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(short.get(sign, sign if sign >= " " else f"\\u{ord(sign):04x}") for sign in text) + '"'


def test_study_kind_name_and_secret_each_change_the_pseudonym() -> None:
    base = pseudonym(SECRET, study=StudyId("vegf"), kind=NameKind.LOT, name="BM-01")
    others = {
        pseudonym(SECRET, study=StudyId("q5e"), kind=NameKind.LOT, name="BM-01"),
        pseudonym(SECRET, study=StudyId("vegf"), kind=NameKind.DONOR, name="BM-01"),
        pseudonym(SECRET, study=StudyId("vegf"), kind=NameKind.LOT, name="BM-02"),
        pseudonym(SECRET[::-1], study=StudyId("vegf"), kind=NameKind.LOT, name="BM-01"),
    }
    assert len(others | {base}) == 5
    assert re.fullmatch(r"[0-9a-f]{16}", base)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(InputError, match="at least 16 bytes"):
        pseudonym(b"short", study=StudyId("vegf"), kind=NameKind.LOT, name="BM-01")

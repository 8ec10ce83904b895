"""The site's own record of the lots that it qualified: one line of canonical JSON a lot, appended, never rewritten.

It is what ``monitor`` charts and what the strips of a qualification page show as past lots. It stays at the site. A
lot that was judged again stands twice; the later line counts.
"""

import os
from collections.abc import Iterable
from math import nan
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from protocol.identifiers import Digest, Instant, Label, StudySlug
from protocol.message import Message
from protocol.modules.markers import MarkerPredictor
from shared.errors import InputError
from shared.runtime.files import PRIVATE, cannot_write, read_bounded
from site_agent.qualification.dates import checked_day
from site_agent.qualification.judgement import QualificationVerdict, ReasonCode

RECORDS_FILE: Final = "qualified.jsonl"
_LIMIT: Final = 64 * 2**20
_LINE_LIMIT: Final = 16 * 1024
_OF_THE_SHARE: Final = frozenset(
    {ReasonCode.BELOW_THRESHOLD, ReasonCode.ABOVE_THRESHOLD, ReasonCode.BEYOND_RANGE, ReasonCode.OTHER_TISSUE}
)
_Share = Annotated[float, Field(ge=0, le=1)]


class QualifiedLot(Message):
    """One lot that was held against a specification; ``made`` is the day that the site gave for it."""

    schema_id: Literal["crosslot.qualified-lot/1"] = Field(default="crosslot.qualified-lot/1", alias="schema")
    lot: Label
    made: Annotated[str, AfterValidator(checked_day)]
    judged: Instant
    study: StudySlug
    specification_sha256: Digest
    specification_version: Annotated[int, Field(ge=1)]
    atlas_sha256: Digest
    cells_sha256: Digest | None  # of the lot's file; null for a folder
    cluster: Label | None  # null where the share is a marker's
    marker: MarkerPredictor | None = None
    cells: Annotated[int, Field(ge=0)]
    gene_coverage: _Share
    share: _Share | None  # null where the lot has none
    share_low: _Share | None
    share_high: _Share | None
    unassigned_share: _Share
    verdict: QualificationVerdict
    reasons: tuple[ReasonCode, ...]

    @property
    def share_of(self) -> str:
        """What the share is of, in words."""
        return str(self.cluster) if self.marker is None else self.marker.cells_text

    @property
    def percent(self) -> float:
        """The share in per cent; NaN where the lot has none."""
        return nan if self.share is None else 100 * self.share


def read_records(path: Path) -> tuple[QualifiedLot, ...]:
    """Return the lots of a record in the order of making, each once; empty where there is no file yet.

    Raises
    ------
    InputError
        If a line is no record.
    """
    if not path.exists():
        return ()
    found: dict[str, QualifiedLot] = {}
    for number, line in enumerate(read_bounded(path, limit=_LIMIT, what="the record of lots").splitlines(), start=1):
        try:
            record = decode(QualifiedLot, line, limit=_LINE_LIMIT)
        except ProtocolError as error:
            raise InputError(
                f"{path}, line {number}: expected the record of a lot, found: {error}",
                hint="restore the file from a backup, or move it away and qualify the lots again",
            ) from error
        found[record.lot] = record
    return tuple(sorted(found.values(), key=lambda each: (each.made, each.judged, each.lot)))


def append_record(path: Path, record: QualifiedLot) -> None:
    """Append one lot to a record, whole.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        with os.fdopen(descriptor, "ab") as file:
            file.write(encode(record) + b"\n")  # one write of one line: two processes cannot mix theirs
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def of_the_same_kind(
    records: Iterable[QualifiedLot], *, cluster: str | None, atlas_sha256: str, marker: MarkerPredictor | None = None
) -> tuple[QualifiedLot, ...]:
    """Return the records whose shares mean the same: of one cluster, or by one marker, of one atlas."""
    kind = (cluster, marker, atlas_sha256)
    return tuple(each for each in records if (each.cluster, each.marker, each.atlas_sha256) == kind)


def with_a_sound_share(records: Iterable[QualifiedLot]) -> tuple[QualifiedLot, ...]:
    """Return the records whose share is to be believed: of judged lots, and of those beyond the range only."""
    return tuple(each for each in records if set(each.reasons) <= _OF_THE_SHARE and each.share is not None)

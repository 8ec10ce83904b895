"""``qualify`` and ``monitor``: new lots held against the signed specification, at the site; nothing is sent.

The specification is believed by the coordinator's key that the site pinned when it joined, or by a public key file that
the user names. Exit codes of ``qualify``: 0 the lot meets it, 1 it does not or cannot be judged, 2 bad input.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, envelope_limit
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256, instant
from protocol.modules.signed_specification import Specification
from protocol.roster import Believed, open_from_coordinator
from protocol.signing import VerifyingKey
from shared.errors import InputError
from shared.runtime.console import failures_exit_with, json_option, print_json, print_table, progress, remark
from shared.runtime.files import read_bounded, write_atomically
from site_agent.qualification.dates import checked_day
from site_agent.qualification.judgement import Judgement, LotFacts, QualificationVerdict, judge_lot
from site_agent.qualification.qualification_view import WORDS, LotCard, qualification_view
from site_agent.qualification.records import (
    RECORDS_FILE,
    QualifiedLot,
    append_record,
    of_the_same_kind,
    read_records,
    with_a_sound_share,
)

if TYPE_CHECKING:
    from shared.atlas.artefact import Atlas
    from site_agent.qualification.lot import LotFile

# The mapper (numba) and the site's home are imported within the commands: --help and wrong arguments answer at once.

_PATH: Final = click.Path(path_type=Path)
_BAD_INPUT: Final = 2
_LONGEST_NAME: Final = 64
_KEY_LIMIT: Final = 4_096
MONITOR_COLUMNS: Final = ("lot", "made", "share", "signal", "when qualified")

_home = click.option(
    "--home",
    "home_folder",
    type=_PATH,
    envvar="CROSSLOT_SITE_HOME",
    help="The site's home: its coordinator's key is believed. Without: $CROSSLOT_SITE_HOME.",
)
_coordinator_key = click.option(
    "--coordinator-key", type=_PATH, help="Without --home: the coordinator's public key (.pub)."
)
_records = click.option(
    "--records", type=_PATH, help=f"The site's own record of lots; without: {RECORDS_FILE} in --home, or here."
)


@click.command("qualify")
@click.argument("cells", metavar="LOT_FILE", type=_PATH)
@click.option("--atlas", type=_PATH, required=True, help="The atlas that the specification names.")
@click.option("--specification", type=_PATH, required=True, help="The signed specification.")
@click.option("--out", type=_PATH, required=True, help="The page to write (HTML, one A4).")
@_home
@_coordinator_key
@click.option("--lot", "lot_name", help="The lot's name; without: the file's.")
@click.option("--made", metavar="DAY", help="When the lot was made, such as 2026-11-20; without: today.")
@click.option("--product", help="The product, for the page.")
@click.option("--tissue", help="The lot's tissue; another than the study's cannot be judged.")
@click.option("--where", metavar="COL=VALUE", multiple=True, help="Only cells with this value; may be given again.")
@click.option("--layer", help="The layer that holds the counts; without: X.")
@_records
@click.option("--threads", type=click.IntRange(1), help="Worker threads; without: one for each core.")
@json_option
def qualify(
    cells: Path,
    atlas: Path,
    specification: Path,
    out: Path,
    home_folder: Path | None,
    coordinator_key: Path | None,
    lot_name: str | None,
    made: str | None,
    product: str | None,
    tissue: str | None,
    where: tuple[str, ...],
    layer: str | None,
    records: Path | None,
    threads: int | None,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Hold the lot in LOT_FILE against a signed specification: meets it, does not, or cannot be judged.

    Everything stays here. The verdict is added to the site's own record, which `monitor` charts. Exits with 0 where the
    lot meets the specification, 1 where it does not or cannot be judged (--json says which), 2 on bad input.
    """
    failures_exit_with(_BAD_INPUT)
    from site_agent.cells.lots import parse_where  # noqa: PLC0415 - see above
    from site_agent.cells.map_command import read_atlas  # noqa: PLC0415 - see above
    from site_agent.qualification.lot import LotFile  # noqa: PLC0415 - see above
    from site_agent.qualification.page import render_qualification  # noqa: PLC0415 - see above

    name, day = _name(lot_name or cells.stem), _day(made)
    believed = read_specification(specification, _key(home_folder, coordinator_key))
    reference, digest = read_atlas(atlas)
    if digest != believed.message.atlas.sha256:
        raise ProtocolError(
            ErrorCode.ATLAS_MISMATCH,
            f"{specification} is for {believed.message.atlas.name!r} with SHA-256 {believed.message.atlas.sha256}; "
            f"{atlas} has {digest}.",
            hint="give the atlas of the study, exactly as it was signed",
        )
    path = _records_path(records, home_folder)
    known = read_records(path)
    file = LotFile(path=cells, where=tuple(each for text in where for each in parse_where(text)), layer=layer)
    judged = _judge(file, reference, believed, name=name, day=day, tissue=tissue, threads=threads)
    record = judged.record
    past = of_the_same_kind(known, cluster=record.cluster, atlas_sha256=digest, marker=record.marker)
    view = qualification_view(
        LotCard(lot=name, made=day, product=product, file=cells.name, cells_sha256=judged.record.cells_sha256),
        judged.facts,
        judged.judgement,
        believed.message,
        [each for each in past if each.lot != name],
        specification_sha256=believed.payload_sha256,
        record_sha256=sha256(encode(judged.record)),
        signer=believed.key_id,
    )
    write_atomically(out, render_qualification(view))
    append_record(path, judged.record)
    if as_json:
        print_json(_document(judged, believed, out, path))
    else:
        icon, word = view.icon, view.word
        click.echo(f"{icon} {word}: lot {name}. {view.headline}")
        for reason in judged.judgement.reasons:
            if reason.sentence != view.headline:
                click.echo(f"  {reason.code.value}: {reason.sentence}")
    for text in judged.judgement.remarks:
        remark(f"remark: {text}")
    remark(f"wrote {out}; kept in {path}. Nothing was sent.")
    if judged.judgement.verdict is not QualificationVerdict.PASS:
        click.get_current_context().exit(1)


@click.command("monitor")
@_home
@_records
@click.option("--specification", type=_PATH, help="Draw this signed specification's threshold, too.")
@_coordinator_key
@click.option("--out", type=_PATH, required=True, help="The page to write (HTML).")
@json_option
def monitor(
    home_folder: Path | None,
    records: Path | None,
    specification: Path | None,
    coordinator_key: Path | None,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Chart the site's qualified lots over time: control limits from 20 lots on, and whether the share drifts.

    Everything stays here. Lots of another share or atlas than the latest, and lots whose share was not certain, are
    left out, and said to be.
    """
    from site_agent.qualification.monitor_view import monitor_view  # noqa: PLC0415 - only this command needs it
    from site_agent.qualification.page import render_monitor  # noqa: PLC0415 - the same

    path = _records_path(records, home_folder)
    known = read_records(path)
    message = None
    if specification is not None:
        message = read_specification(specification, _key(home_folder, coordinator_key)).message
    if not known:
        raise InputError(
            f"{path}: expected the record of at least one lot, found none",
            hint="qualify lots first: crosslot-site qualify --help",
        )
    kind = known[-1] if message is None else message.basis
    digest = known[-1].atlas_sha256 if message is None else message.atlas.sha256
    charted = with_a_sound_share(of_the_same_kind(known, cluster=kind.cluster, atlas_sha256=digest, marker=kind.marker))
    if not charted:
        raise InputError(
            f"{path}: expected lots that were qualified for {kind.share_of} of this specification's atlas, found none",
            hint="qualify lots by this specification first",
        )
    view = monitor_view(charted, message)
    write_atomically(out, render_monitor(view))
    if as_json:
        limits = view.chart.limits
        print_json(
            {
                "success": True,
                "lots": len(charted),
                "left_out": len(known) - len(charted),
                "limits": None if limits is None else {"low": limits.low, "centre": limits.centre, "high": limits.high},
                "outside": [point.lot for point in view.points if point.outside],
                "trend_p": view.chart.trend_p,
                "trend": view.chart.has_trend,
                "signals": list(view.signals),
                "page": str(out),
            }
        )
    else:
        rows = [
            (each.lot, each.made, f"{each.percent:.2f}%", "! beyond limits" if each.outside else "", each.result)
            for each in view.points
        ]
        print_table(view.heading, MONITOR_COLUMNS, rows)
        click.echo(f"{view.word}. {view.headline}")
    if len(known) > len(charted):
        remark(f"{len(known) - len(charted)} lots are left out: of another share or atlas, or not judged")
    remark(f"wrote {out}. Nothing was sent.")


COMMANDS: Final = (qualify, monitor)
"""Both commands; the console script mounts them."""


@dataclass(frozen=True, kw_only=True)
class _Judged:
    facts: LotFacts
    judgement: Judgement
    record: QualifiedLot


def read_specification(path: Path, key: VerifyingKey) -> Believed[Specification]:
    """Return a specification that the coordinator of ``key`` signed.

    Raises
    ------
    InputError
        The file cannot be read, is no specification, or another key signed it.
    """
    limit = envelope_limit(PayloadType.SPECIFICATION)
    data = read_bounded(path, limit=limit, what="a signed specification")
    try:
        return open_from_coordinator(data, Specification, PayloadType.SPECIFICATION, key)
    except ProtocolError as error:
        raise InputError(
            f"{path}: expected a specification signed by the coordinator (key {key.fingerprint[:16]}), found: {error}",
            hint="give the file as the coordinator released it, and the coordinator's own key",
        ) from error


def _judge(
    file: "LotFile",
    atlas: "Atlas",
    believed: Believed[Specification],
    *,
    name: str,
    day: str,
    tissue: str | None,
    threads: int | None,
) -> _Judged:
    from site_agent.qualification.lot import facts_of, file_sha256  # noqa: PLC0415 - imports numba

    last = 0
    with progress("mapping cells", unit="cells") as advance:

        def moved(done: int, _total: int) -> None:
            nonlocal last
            advance(done - last)
            last = done

        facts = facts_of(file, atlas, believed.message, tissue=tissue, threads=threads, progress=moved)
    judgement = judge_lot(facts, believed.message)
    record = QualifiedLot(
        lot=name,
        made=day,
        judged=instant(datetime.now(UTC)),
        study=believed.message.study,
        specification_sha256=believed.payload_sha256,
        specification_version=believed.message.version,
        atlas_sha256=believed.message.atlas.sha256,
        cells_sha256=_digest(file_sha256(file.path)),
        cluster=believed.message.basis.cluster,
        marker=believed.message.basis.marker,
        cells=facts.cells,
        gene_coverage=facts.gene_coverage,
        share=None if isnan(facts.share) else facts.share,
        share_low=facts.share_low,
        share_high=facts.share_high,
        unassigned_share=facts.unassigned_share,
        verdict=judgement.verdict,
        reasons=tuple(reason.code for reason in judgement.reasons),
    )
    return _Judged(facts=facts, judgement=judgement, record=record)


def _digest(text: str | None) -> Sha256 | None:
    return None if text is None else Sha256(text)


def _document(judged: _Judged, believed: Believed[Specification], out: Path, records: Path) -> dict[str, object]:
    verdict = judged.judgement.verdict
    return {
        "success": True,
        "verdict": verdict.value,
        "meets": verdict is QualificationVerdict.PASS,
        "word": WORDS[verdict][1],
        "outcome": believed.message.basis.outcome.value,
        "reasons": [{"code": each.code.value, "sentence": each.sentence} for each in judged.judgement.reasons],
        "remarks": list(judged.judgement.remarks),
        "record": judged.record.model_dump(mode="json", by_alias=True),
        "page": str(out),
        "records": str(records),
    }


def _key(home: Path | None, key: Path | None) -> VerifyingKey:
    """Return whom to believe: the key that the site pinned, or the one in the named file."""
    if key is not None:
        text = read_bounded(key, limit=_KEY_LIMIT, what="a public key (.pub)").decode("ascii", errors="replace")
        try:
            return VerifyingKey.from_hex(text.strip())
        except InputError as error:
            raise InputError(f"{key}: {error}", hint="give the coordinator's .pub file") from error
    if home is None:
        raise click.UsageError("expected --home or --coordinator-key: whose signature is to be believed?")
    from site_agent.home import open_home  # noqa: PLC0415 - reaches the release wing

    return open_home(home).coordinator


def _records_path(records: Path | None, home: Path | None) -> Path:
    return records or (Path() if home is None else home) / RECORDS_FILE


def _name(text: str) -> str:
    if not text.strip() or text != text.strip() or len(text) > _LONGEST_NAME or not text.isprintable():
        raise InputError(
            f"--lot: expected a printable name of at most {_LONGEST_NAME} characters, found {text!r}", hint="give --lot"
        )
    return text


def _day(text: str | None) -> str:
    if text is None:
        return date.today().isoformat()  # noqa: DTZ011 - the day as the site's people write it
    try:
        return checked_day(text)
    except ValueError as error:
        raise InputError(f"--made: {error}, found {text!r}") from None

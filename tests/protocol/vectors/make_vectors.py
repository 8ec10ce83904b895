"""Write the vectors beside this file: a second, plain implementation that shares no code with the product."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# RFC 8032, section 7.1, TEST 1, 2 and 3.
COORDINATOR = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
KYOTO = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)
LEIDEN = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
)

QUERY_TYPE = "application/vnd.crosslot.query+json"
ANSWER_TYPE = "application/vnd.crosslot.answer+json"
REPORT_TYPE = "application/vnd.crosslot.lot-report+json"

QUERY: dict[str, Any] = {
    "schema": "crosslot.query/1",
    "study": "vegf-2026",
    "plan_sha256": "b" * 64,
    "atlas_sha256": "a" * 64,
    "site": "kyoto",
    "round": 1,
    "nonce": "0123456789abcdef" * 2,
    "issued": "2026-11-20T08:00:00Z",
    "expires": "2026-11-20T09:00:00Z",
}
REPORT: dict[str, Any] = {
    "schema": "crosslot.lot-report/1",
    "study": "vegf-2026",
    "plan_sha256": "b" * 64,
    "atlas_sha256": "a" * 64,
    "site": "kyoto",
    "lot": "0123456789abcdef",
    "donor": "fedcba9876543210",
    "version": 1,
    "cohort": "main",
    "tissue": "bone marrow",
    "product": "MSC",
    "passage": 5,
    "condition": "normoxia",
    "period": "2026-Q3",
    "cells_after_qc": [2010, 2013],
    "counts": [1200, 500, 290, 7, [1, 4]],
    "unassigned": 12,
    "quality": {
        "median_counts": 5120.0,
        "median_genes": 2210.5,
        "median_mitochondrial_share": 0.041,
        "gene_coverage": 0.98,
    },
    "potency": [
        {
            "endpoint": "vegf",
            "assay": "ELISA",
            "unit": "pg/mL",
            "run": "0011223344556677",
            "replicates": [812.5, 790.1],
            "reference_replicates": [1000.0],
        }
    ],
    "arm": None,
    "attributes": [],
    "markers": None,
    "software": {"crosslot": "0.1.0", "mapper": "linear/1"},
    "disclosure": {
        "requested": "standard",
        "applied": "standard",
        "small_count_threshold": 5,
        "policy_sha256": "c" * 64,
        "noise": None,
    },
    "padding": "",
}


def plain(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def fingerprint(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()


def encoding(kind: str, payload: bytes) -> bytes:
    return (
        b"DSSEv1 " + str(len(kind)).encode() + b" " + kind.encode() + b" " + str(len(payload)).encode() + b" " + payload
    )


def envelope(payload: bytes, kind: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    return {
        "payload": b64(payload),
        "payloadType": kind,
        "signatures": [{"keyid": fingerprint(key), "sig": b64(key.sign(encoding(kind, payload)))}],
    }


def answer(reports: list[bytes]) -> dict[str, Any]:
    return {
        "schema": "crosslot.answer/1",
        "study": "vegf-2026",
        "site": "kyoto",
        "query_nonce": QUERY["nonce"],
        "query_sha256": hashlib.sha256(plain(QUERY)).hexdigest(),
        "ledger": None,
        "status": "reports",
        "code": None,
        "reports": sorted(hashlib.sha256(report).hexdigest() for report in reports),
    }


@dataclass(frozen=True)
class Vector:
    """One file: the rule it is about, how it is opened, what must come of it, its bytes."""

    name: str
    rule: str
    opened_as: str
    outcome: str
    data: bytes


GOOD_QUERY, GOOD_REPORT = plain(QUERY), plain(REPORT)
SEALED_QUERY = envelope(GOOD_QUERY, QUERY_TYPE, COORDINATOR)
SEALED_REPORT = plain(envelope(GOOD_REPORT, REPORT_TYPE, KYOTO))


def bad(name: str, rule: str, opened_as: str, outcome: str, data: bytes) -> Vector:
    return Vector(f"bad_{name}", rule, opened_as, outcome, data)


def query_with(**changes: Any) -> bytes:  # noqa: ANN401
    return plain({**QUERY, **changes})


def report_with(**changes: Any) -> bytes:  # noqa: ANN401
    return plain({**REPORT, **changes})


def sealed_with(**changes: Any) -> bytes:  # noqa: ANN401
    return plain({**SEALED_QUERY, **changes})


def good() -> Iterator[Vector]:
    yield Vector("query", "1.1", "message", "ok", GOOD_QUERY)
    yield Vector("report", "4.2", "report-message", "ok", GOOD_REPORT)
    yield Vector("query_envelope", "2.3", "query", "ok", plain(SEALED_QUERY))
    yield Vector("report_envelope", "2.3", "report", "ok", SEALED_REPORT)
    yield Vector("answer_envelope", "3.7", "answer", "ok", sealed_answer())


def sealed_answer(**changes: Any) -> bytes:  # noqa: ANN401
    return plain(envelope(plain({**answer([SEALED_REPORT]), **changes}), ANSWER_TYPE, KYOTO))


def bad_bytes() -> Iterator[Vector]:
    yield bad("space", "1.1", "message", "not-canonical", GOOD_QUERY.replace(b":1", b": 1"))
    yield bad("key_order", "1.1", "message", "not-canonical", json.dumps(QUERY, separators=(",", ":")).encode())
    yield bad("escape", "1.1", "message", "not-canonical", GOOD_QUERY.replace(b"kyoto", b"kyot\\u006f"))
    yield bad("float", "1.1", "report-message", "not-canonical", GOOD_REPORT.replace(b"2210.5", b"2210.50"))
    yield bad("exponent", "1.1", "report-message", "not-canonical", GOOD_REPORT.replace(b"5120.0", b"5.12e3"))
    yield bad("default_left_out", "1.1", "report-message", "not-canonical", GOOD_REPORT.replace(b',"padding":""', b""))
    yield bad("not_utf8", "1.2", "message", "not-utf8", GOOD_QUERY.replace(b"kyoto", b"kyot\xf6"))
    yield bad("byte_order_mark", "1.2", "message", "not-json", b"\xef\xbb\xbf" + GOOD_QUERY)
    yield bad("cut", "1.2", "message", "not-json", GOOD_QUERY[:-1])
    yield bad("trailing", "1.2", "message", "trailing-bytes", GOOD_QUERY + b"0")
    yield bad(
        "duplicate_key", "1.2", "message", "duplicate-key", GOOD_QUERY.replace(b'"round":1', b'"round":1,"round":1')
    )
    yield bad("nan", "1.2", "report-message", "not-finite", GOOD_REPORT.replace(b"5120.0", b"NaN"))
    yield bad("infinity", "1.2", "report-message", "not-finite", GOOD_REPORT.replace(b"5120.0", b"1e999"))
    yield bad("unknown_field", "1.2", "message", "unknown-field", query_with(genes=["LRRC75A"]))
    yield bad(
        "missing_field", "1.2", "message", "missing-field", plain({k: v for k, v in QUERY.items() if k != "nonce"})
    )
    yield bad("text_for_integer", "1.2", "message", "invalid-field", query_with(round="1"))
    yield bad("float_for_integer", "1.2", "message", "invalid-field", query_with(round=1.0))
    yield bad("true_for_integer", "1.2", "message", "invalid-field", query_with(round=True))
    yield bad("deep", "1.3", "message", "too-deep", query_with(round=[[[[[[[[1]]]]]]]]))
    yield bad("large", "1.4", "message", "oversize", query_with(study="x" * 4096))
    yield bad("another_version", "1.5", "message", "wrong-schema", query_with(schema="crosslot.query/2"))
    yield bad("upper_case_hash", "1.6", "message", "invalid-field", query_with(plan_sha256="B" * 64))


def bad_signatures() -> Iterator[Vector]:
    renamed = plain(SEALED_QUERY).replace(fingerprint(COORDINATOR).encode(), fingerprint(KYOTO).encode())
    yield bad("another_fingerprint", "2.1", "query", "unknown-signer", renamed)
    unbound = [{"keyid": fingerprint(COORDINATOR), "sig": b64(COORDINATOR.sign(GOOD_QUERY))}]
    yield bad("payload_signed_bare", "2.2", "query", "bad-signature", sealed_with(signatures=unbound))
    swapped = encoding(ANSWER_TYPE, GOOD_QUERY)
    other_type = [{"keyid": fingerprint(COORDINATOR), "sig": b64(COORDINATOR.sign(swapped))}]
    yield bad("signed_as_another_type", "2.2", "query", "bad-signature", sealed_with(signatures=other_type))
    yield bad("no_signature", "2.3", "query", "invalid-field", sealed_with(signatures=[]))
    yield bad(
        "two_signatures",
        "2.3",
        "query",
        "invalid-field",
        sealed_with(signatures=SEALED_QUERY["signatures"] * 2),
    )
    yield bad("envelope_field", "2.3", "query", "unknown-field", sealed_with(note=""))
    odd = GOOD_QUERY + b" " * (-len(GOOD_QUERY) % 3 + 1)  # so that its base64 is padded
    sealed_odd = envelope(odd, QUERY_TYPE, COORDINATOR)
    unpadded = plain({**sealed_odd, "payload": b64(odd).rstrip("=")})
    yield bad("unpadded_base64", "2.3", "query", "invalid-field", unpadded)
    yield bad("url_base64", "2.3", "query", "invalid-field", sealed_with(payload=b64(GOOD_QUERY)[:-4] + "a-_a"))
    padded = b64(odd)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = len(padded.rstrip("=")) - 1
    loose = padded[:at] + last[last.index(padded[at]) + 1] + padded[at + 1 :]
    yield bad("padding_bits", "2.3", "query", "not-canonical", plain({**sealed_odd, "payload": loose}))
    yield bad(
        "another_type", "2.4", "query", "wrong-payload-type", plain(envelope(GOOD_QUERY, ANSWER_TYPE, COORDINATOR))
    )
    flipped = b64(GOOD_QUERY.replace(b'"round":1', b'"round":2'))
    yield bad("changed_payload", "2.4", "query", "bad-signature", sealed_with(payload=flipped))
    yield bad("unsigned_rubbish", "2.4", "query", "unknown-signer", plain(envelope(b"\xff", QUERY_TYPE, LEIDEN)))
    yield bad("signed_rubbish", "2.4", "query", "not-utf8", plain(envelope(b"\xff", QUERY_TYPE, COORDINATOR)))
    yield bad("query_of_a_site", "2.5", "query", "unknown-signer", plain(envelope(GOOD_QUERY, QUERY_TYPE, KYOTO)))
    yield bad(
        "report_of_the_coordinator",
        "2.5",
        "report",
        "unknown-signer",
        plain(envelope(GOOD_REPORT, REPORT_TYPE, COORDINATOR)),
    )
    speaking = plain(envelope(report_with(site="leiden"), REPORT_TYPE, KYOTO))
    yield bad("report_for_another_site", "2.5", "report", "wrong-signer", speaking)
    told = sealed_answer(reports=[], status="failed", code="/data/lots/BM-01.h5ad")
    yield bad("path_for_a_code", "2.6", "answer", "invalid-field", told)


def query(name: str, rule: str, outcome: str, **changes: Any) -> Vector:  # noqa: ANN401
    return bad(name, rule, "query", outcome, plain(envelope(query_with(**changes), QUERY_TYPE, COORDINATOR)))


def answered(name: str, outcome: str, **changes: Any) -> Vector:  # noqa: ANN401
    return bad(name, "3.7", "answer", outcome, sealed_answer(**changes))


def report(name: str, rule: str, **changes: Any) -> Vector:  # noqa: ANN401
    sealed = plain(envelope(report_with(**changes), REPORT_TYPE, KYOTO))
    return bad(name, rule, "report", "invalid-field", sealed)


def bad_exchanges() -> Iterator[Vector]:
    yield query("study_name", "3.2", "invalid-field", study="VEGF 2026")
    yield query("local_time", "3.2", "invalid-field", issued="2026-11-20T08:00:00+09:00")
    yield query("short_nonce", "3.4", "invalid-field", nonce="0123456789abcdef")
    yield query("another_study", "3.4", "wrong-study", study="q5e-2026")
    yield query("another_plan", "3.4", "plan-mismatch", plan_sha256="d" * 64)
    yield query("another_atlas", "3.4", "atlas-mismatch", atlas_sha256="d" * 64)
    yield query("another_site", "3.5", "wrong-site", site="leiden")
    yield query("early", "3.5", "not-yet-valid", issued="2026-11-20T08:35:01Z")
    yield query("late", "3.5", "expired", expires="2026-11-20T08:24:59Z")
    yield query("long", "3.5", "valid-too-long", expires="2026-11-21T08:00:01Z")
    yield query("expires_first", "3.5", "invalid-field", expires="2026-11-20T07:59:59Z")
    yield query("replay", "3.6", "replayed", nonce="f" * 32)
    yield answered("another_query", "wrong-query", query_sha256="d" * 64)
    yield answered("another_nonce", "wrong-query", query_nonce="d" * 32)
    yield answered("answer_to_another_study", "wrong-study", study="q5e-2026")
    yield answered("another_report", "reports-mismatch", reports=["d" * 64])
    yield answered("reports_and_code", "invalid-field", code="internal")
    yield answered("reports_out_of_order", "invalid-field", reports=["e" * 64, "d" * 64])


def bad_reports() -> Iterator[Vector]:
    yield report("version_zero", "4.1", version=0)
    yield report("interval_of_one", "4.2", unassigned=[12, 12])
    yield report("interval_reversed", "4.2", unassigned=[12, 4])
    yield report("negative_count", "4.2", unassigned=-1)
    yield report("fraction_of_a_cell", "4.2", unassigned=12.5)
    yield report("lots_own_name", "4.3", lot="BM-01")
    yield report("date", "4.4", period="2026-09-14")
    yield report("no_potency", "4.5", potency=[])
    yield report("words_for_padding", "4.6", padding="AAACCTGAGAAACCAT-1")


def main() -> None:
    """Write every vector, and the list of them."""
    folder = Path(__file__).parent
    listed = []
    for vector in (*good(), *bad_bytes(), *bad_signatures(), *bad_exchanges(), *bad_reports()):
        file = f"{vector.name}.bin"
        (folder / file).write_bytes(vector.data)
        listed.append({"file": file, "rule": vector.rule, "opened_as": vector.opened_as, "outcome": vector.outcome})
    (folder / "vectors.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What the tests of audit logs share: records, logs, and what a verification says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import remit
from remit.audit import AuditRecord, Finding, JsonlAudit, LogReport, verify_log
from remit.encoding import b64url_encode

NOW: Final = 1_704_067_500.25
KEY: Final = remit.Issuer.generate("https://audit.acme.example")
OTHER_KEY: Final = remit.Issuer.generate("https://audit.acme.example")


def record(number: int = 0, **members: Any) -> AuditRecord:
    """A decision that is told apart by its number."""
    usual: dict[str, Any] = {
        "event": "decision",
        "at": NOW + number,
        "allowed": True,
        "call_id": f"call-{number}",
        "agent": "agent-a",
        "capability": "tool:use",
        "chain": ("t-1", "t-2"),
    }
    return AuditRecord(**{**usual, **members})


def fill(path: Path, count: int, *, start: int = 0, **options: Any) -> None:
    """Write some records to a log, and close it."""
    with JsonlAudit(path, **options) as audit:
        for number in range(start, start + count):
            audit.record(record(number))


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file, with their line feeds."""
    return path.read_bytes().splitlines(keepends=True)


def members_of(path: Path) -> list[dict[str, Any]]:
    """What the lines of a file say."""
    return [json.loads(line) for line in lines_of(path)]


def calls_of(path: Path) -> list[str]:
    """The call identifiers in a log, its older files included, checkpoints left out."""
    files = [*sorted(path.parent.glob(f"{path.name}.0*")), path]
    return [m["call_id"] for file in files if file.exists() for m in members_of(file) if "call_id" in m]


def head_of(path: Path) -> Path:
    """The head beside a log."""
    return path.with_name(f"{path.name}.head")


def rewrite(path: Path, lines: list[bytes]) -> None:
    """Put other lines into a log, and leave its head alone."""
    path.write_bytes(b"".join(lines))


def chained(lines: list[bytes]) -> list[bytes]:
    """Lines numbered and chained anew, as somebody does who knows the format but has no key."""
    from hashlib import sha256

    prev, done = "A" * 43, []
    for seq, line in enumerate(lines, 1):
        text = json.dumps({**json.loads(line), "seq": seq, "prev": prev}, separators=(",", ":")) + "\n"
        done.append(text.encode())
        prev = b64url_encode(sha256(text.encode()).digest())
    return done


def true_head(path: Path) -> None:
    """Write the head that a log's lines would have."""
    from hashlib import sha256

    last = lines_of(path)[-1]
    members = json.loads(last)
    log = next((m["log"] for m in members_of(path) if "log" in m), "0" * 32)
    head = {
        "seq": members["seq"],
        "hash": b64url_encode(sha256(last).digest()),
        "size": path.stat().st_size,
        "log": log,
    }
    head_of(path).write_bytes(json.dumps(head, separators=(",", ":")).ljust(255).encode() + b"\n")


def findings(path: Path, *anchors: remit.TrustAnchor, **options: Any) -> tuple[Finding, ...]:
    """What is wrong with a log."""
    return verify_log(path, anchors, **options).findings


def codes(path: Path, *anchors: remit.TrustAnchor, **options: Any) -> list[str]:
    """The codes of what is wrong with a log."""
    return [finding.code for finding in findings(path, *anchors, **options)]


def sound(path: Path, *anchors: remit.TrustAnchor, **options: Any) -> LogReport:
    """The report of a log that has nothing wrong with it."""
    report = verify_log(path, anchors, **options)
    assert report.findings == ()
    assert report.ok
    return report


def unavailable(audit: Any, number: int = 0) -> remit.Denied:
    """The refusal of a record that cannot be written."""
    with pytest.raises(remit.Denied) as caught:
        audit.record(record(number))
    assert caught.value.code == "audit_unavailable"
    return caught.value


def take(entries: Iterator[Any], count: int) -> list[Any]:
    """The next few of something that goes on for ever."""
    return [next(entries) for _ in range(count)]

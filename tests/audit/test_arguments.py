"""R19, R35: arguments stand in the record as a digest, and in clear only where that was asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest

import remit
from remit.audit import JsonlAudit, LoggingAudit, MemoryAudit, SqliteAudit
from remit.encoding import b64url_encode, canonicalize
from remit.record import AuditSink
from remit.trail import Entry, Trail

CANARY: Final = "canary-7c41aa90"
CLEAR: Final = {"trades:propose": ["symbol", "amount"]}


@pytest.fixture
def issuer() -> remit.Issuer:
    return remit.Issuer.generate("https://auth.acme.example")


def guard_of(issuer: remit.Issuer, sink: AuditSink, clear: Any) -> remit.Guard:
    """A guard that records arguments in clear."""
    return remit.Guard([issuer.anchor], audit=sink, record_arguments=clear)


def recorded(
    issuer: remit.Issuer, clear: Any, arguments: dict[str, Any], capability: str = "trades:propose"
) -> Any:
    sink = MemoryAudit()
    guard = guard_of(issuer, sink, clear)
    guard.check(issuer.issue("agent-a", ["trades:propose", "other:tool"]), capability, arguments)
    return sink.records[-1].arguments


def test_without_a_word_nothing_is_in_clear(issuer: remit.Issuer) -> None:
    assert recorded(issuer, None, {"symbol": "ACME"}) is None
    assert recorded(issuer, {}, {"symbol": "ACME"}) is None


def test_only_what_is_named_for_this_capability_is_in_clear(issuer: remit.Issuer) -> None:
    arguments = {"symbol": "ACME", "amount": 5, "note": CANARY}
    assert recorded(issuer, CLEAR, arguments) == {"symbol": "ACME", "amount": 5}
    assert recorded(issuer, CLEAR, arguments, "other:tool") is None
    assert recorded(issuer, CLEAR, {"note": CANARY}) is None
    assert recorded(issuer, CLEAR, {}) is None


def test_the_digest_is_that_of_all_arguments_whatever_is_in_clear(issuer: remit.Issuer) -> None:
    sink, arguments = MemoryAudit(), {"symbol": "ACME", "note": CANARY}
    guard_of(issuer, sink, CLEAR).check(issuer.issue("a", ["trades:propose"]), "trades:propose", arguments)
    expected = b64url_encode(hashlib.sha256(canonicalize(arguments)).digest())  # type: ignore[arg-type]  # plain JSON
    assert sink.records[-1].arguments_digest == expected


def test_arguments_of_a_denied_call_are_in_clear_too_and_those_of_an_outcome_are_not(
    issuer: remit.Issuer,
) -> None:
    sink = MemoryAudit()
    guard = guard_of(issuer, sink, CLEAR)

    @remit.requires_capability("trades:propose")
    def propose(symbol: str, amount: int) -> None:
        pass

    credential = issuer.issue(
        "a", [remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(max=5))]
    )
    with guard.acting_as(credential):
        propose("ACME", 5)
        with pytest.raises(remit.CapabilityDenied):
            propose("ACME", 6)
    said = [(r.event, r.allowed, dict(r.arguments or {})) for r in sink.records]
    assert said == [
        ("decision", True, {"symbol": "ACME", "amount": 5}), ("outcome", True, {}),
        ("decision", False, {"symbol": "ACME", "amount": 6}),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["x" * 1022, [1] * 300, {"a": "b" * 500}, 5, None, True, 1.5, "é" * 511])
def test_a_value_of_up_to_a_kilobyte_is_itself(issuer: remit.Issuer, value: Any) -> None:
    assert recorded(issuer, CLEAR, {"symbol": value}) == {"symbol": value}


@pytest.mark.parametrize("value", ["x" * 1023, "x" * 100_000, ["y"] * 1000, {"a": "b" * 2000}, "é" * 512])
def test_a_larger_value_is_its_digest(issuer: remit.Issuer, value: Any) -> None:
    text = canonicalize(value)
    said = recorded(issuer, CLEAR, {"symbol": value, "amount": 1})
    assert said == {
        "symbol": {"$digest": b64url_encode(hashlib.sha256(text).digest()), "$size": len(text)}, "amount": 1
    }  # fmt: skip


def test_no_value_can_pass_for_the_digest_of_another(issuer: remit.Issuer) -> None:
    posed = {"$digest": "A" * 43, "$size": 5}
    said = recorded(issuer, CLEAR, {"symbol": posed})
    assert said["symbol"]["$digest"] == b64url_encode(hashlib.sha256(canonicalize(posed)).digest())  # type: ignore[arg-type]  # plain JSON


@pytest.mark.parametrize(
    "clear",
    [
        "symbol", ["symbol"], {"trades:propose": "symbol"}, {"trades:propose": []}, {"trades:propose": [""]},
        {"trades:propose": [5]}, {"trades:propose": None}, {"trades:propose": "*"}, {"": ["a"]}, {5: ["a"]}, 5,
        {"trades:propose": [f"a{n}" for n in range(65)]}, {"trades:propose": {"symbol"}, " x": ["a"]},
    ],
    ids=lambda clear: ascii(clear)[:40],
)  # fmt: skip
def test_what_names_no_arguments_is_refused(clear: Any) -> None:
    with pytest.raises(remit.ConfigError, match=r"record_arguments|a capability|argument's name"):
        Trail(MemoryAudit(), clear)


def test_junk_for_a_capability_has_nothing_in_clear(issuer: remit.Issuer) -> None:
    sink = MemoryAudit()
    guard = guard_of(issuer, sink, CLEAR)
    credential = issuer.issue("a", ["trades:propose"])

    junk: list[Any] = [None, 5, [], {}, "x" * 5000]
    for capability in junk:
        with pytest.raises(remit.Denied):
            guard.check(credential, capability, {"symbol": CANARY})
    assert all(record.arguments is None for record in sink.records)


def test_a_capability_that_lies_about_itself_gets_nothing_in_clear() -> None:
    class Lying(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "trades:propose"

        def __hash__(self) -> int:
            return hash("trades:propose")

        def __eq__(self, other: object) -> bool:
            return True

    sink = MemoryAudit()
    trail = Trail(sink, CLEAR)
    trail.decided(Entry(5, "call-1", None, Lying("other:tool")), {"symbol": CANARY}, None)
    trail.decided(Entry(5, "call-1", None, StrEnum("E", {"T": "trades:propose"}).T), {"symbol": "ACME"}, None)  # type: ignore[attr-defined]  # made here
    assert [record.arguments for record in sink.records] == [None, {"symbol": "ACME"}]


# ── canaries ────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_log_holds_an_argument_a_secret_or_a_token_that_it_was_not_told_to(
    issuer: remit.Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole run: allowed, denied, failed, with a secret; then every file of every log is searched."""
    monkeypatch.setenv("BROKER_KEY", "secret-" + CANARY)
    caplog.set_level("INFO", "remit.audit")

    @remit.requires_capability("trades:propose")
    def propose(symbol: str, note: str, key: remit.Secret = remit.secret("BROKER_KEY")) -> str:
        if note == "fail":
            raise ValueError(f"broker said no to {key.reveal()}")
        return f"proposed with {key.reveal()}"

    makes: list[Callable[[], Any]] = [
        lambda: JsonlAudit(tmp_path / "a.jsonl", max_bytes=4096), lambda: SqliteAudit(tmp_path / "a.sqlite"), LoggingAudit
    ]  # fmt: skip
    for make in makes:
        sink = make()
        guard = guard_of(issuer, sink, {"trades:propose": ["symbol"]})
        credential = issuer.issue("agent-a", ["trades:propose"], secrets=["BROKER_KEY"])
        with guard.acting_as(credential):
            for _ in range(5):
                propose("ACME", CANARY)
            with pytest.raises(ValueError, match="broker said no"):
                propose("ACME", "fail")
        for wrong in (credential.token, CANARY, "a.b.c"):
            with pytest.raises(remit.Denied):
                guard.check(wrong, "trades:propose", {"symbol": "ACME", "note": CANARY})  # type: ignore[arg-type]  # the mistake itself
        with pytest.raises(remit.Denied):
            guard.resolve_secret(credential, "OTHER", tool="trades:propose")
        if hasattr(sink, "close"):
            sink.close()
        holder = json.loads(credential.to_json())["holder_key"]["d"]
        written = b"".join(file.read_bytes() for file in tmp_path.iterdir()) + caplog.text.encode()
        assert b"ACME" in written
        for canary in (CANARY, holder, credential.token, credential.token.rpartition(".")[2]):
            assert canary.encode() not in written

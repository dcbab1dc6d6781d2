"""N10: signed checkpoints: whose, where they are due, and what they are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.audit import JsonlAudit, SqliteAudit, verify_log

from .support import (
    KEY,
    NOW,
    OTHER_KEY,
    chained,
    codes,
    fill,
    findings,
    lines_of,
    members_of,
    record,
    rewrite,
    sound,
    true_head,
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A signed log of 14 lines: checkpoints at 1, 8 and 14."""
    path = tmp_path / "audit.jsonl"
    fill(path, 11, every=8, signer=KEY)
    return path


def edited(line: bytes, **members: Any) -> bytes:
    return json.dumps({**json.loads(line), **members}, separators=(",", ":")).encode() + b"\n"


def test_the_report_says_which_checkpoint_was_the_last_and_how_much_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, every=8, signer=KEY)
    for number in range(11):
        audit.record(record(number))
    report = sound(path, KEY.anchor)
    assert report.checkpoint is not None
    assert (report.checkpoint.seq, report.checkpoint.at) == (8, NOW + 6)
    assert (report.checkpoint.issuer, report.checkpoint.kid) == (KEY.uri, KEY.anchor.key.thumbprint)
    assert (report.last, report.unsigned) == (13, 5)
    audit.close()
    assert sound(path, KEY.anchor).unsigned == 0


def test_a_checkpoint_states_the_log_the_place_the_hash_and_the_time(log: Path) -> None:
    import base64

    line = members_of(log)[7]
    payload = line["statement"].split(".")[1]
    statement = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert statement == {
        "iss": KEY.uri, "log": line["log"], "seq": 7, "hash": line["prev"], "at": NOW + 6, "every": 8
    }  # fmt: skip


def test_only_keys_that_are_trusted_count(log: Path) -> None:
    assert codes(log, OTHER_KEY.anchor) == ["checkpoint_untrusted"] * 3 + ["checkpoint_missing"]
    assert "not trusted" in findings(log, OTHER_KEY.anchor)[0].message
    sound(log, OTHER_KEY.anchor, KEY.anchor)
    renamed = remit.TrustAnchor("https://other.example", KEY.anchor.jwk)
    assert codes(log, renamed)[0] == "checkpoint_untrusted"  # the key is the right one, the name is not


def test_a_log_may_be_signed_by_another_key_from_some_day_on(log: Path) -> None:
    fill(log, 5, start=11, every=8, signer=OTHER_KEY)
    report = sound(log, KEY.anchor, OTHER_KEY.anchor)
    assert report.checkpoint is not None
    assert report.checkpoint.kid == OTHER_KEY.anchor.key.thumbprint


def test_with_anchors_a_log_without_signatures_is_not_good(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 11, every=8)
    sound(path)
    [finding] = findings(path, KEY.anchor)
    assert (finding.code, finding.message) == (
        "checkpoint_missing",
        "no checkpoint is signed by a trusted key",
    )


def test_a_log_that_was_signed_and_is_not_any_more_is_not_good(log: Path) -> None:
    fill(log, 11, start=11, every=8)
    [finding] = findings(log, KEY.anchor)
    assert (finding.code, finding.line) == ("checkpoint_missing", 16)


def test_a_log_that_is_signed_only_now_is_good_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 11, every=8)
    fill(path, 1, start=11, every=8, signer=KEY)
    assert sound(path, KEY.anchor).unsigned == 0


def test_a_checkpoint_that_was_due_and_is_not_there_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 3, every=8, signer=KEY)
    fill(path, 20, start=3, every=1000)  # a writer that was told something else
    rewrite(path, lines_of(path)[:-1])
    true_head(path)
    [finding] = findings(path, KEY.anchor)
    assert finding.code == "checkpoint_missing"
    assert finding.message == "a signed checkpoint was due 8 records after record 5"


@pytest.mark.parametrize("line", [1, 8, 14])
def test_a_signature_that_was_altered_is_found_at_its_line(log: Path, line: int) -> None:
    lines = lines_of(log)
    head, payload, signature = json.loads(lines[line - 1])["statement"].split(".")
    wrong = "A" if signature[0] != "A" else "B"
    broken = [f"{head}.{payload}.{wrong}{signature[1:]}", f"{head}.{payload}.", f"{head}.{payload}", "", "x", 5, None,
              f"{head[:-1]}.{payload}.{signature}", [], {}]  # fmt: skip
    for statement in broken:
        rewrite(
            log, chained([*lines[: line - 1], edited(lines[line - 1], statement=statement), *lines[line:]])
        )
        true_head(log)
        found = findings(log, KEY.anchor)
        if statement is None:  # an unsigned checkpoint before a signed one is not by itself wrong
            assert found[-1].code in {"checkpoint_missing", "checkpoint_wrong"}
        else:
            assert (found[0].code, found[0].line) == ("checkpoint_wrong", line)


@pytest.mark.parametrize("member", ["log", "at", "every"])
def test_a_checkpoint_that_says_something_else_than_was_signed_is_found(log: Path, member: str) -> None:
    lines = lines_of(log)
    lines[7] = edited(lines[7], **{member: {"log": "0" * 32, "at": 5, "every": 10**6}[member]})
    rewrite(log, chained(lines))
    true_head(log)
    assert (findings(log, KEY.anchor)[0].line, findings(log)[0].line) == (8, 8)


def test_a_checkpoint_of_another_place_or_another_log_is_found(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    fill(other, 11, every=8, signer=KEY)
    for statement in (members_of(log)[13]["statement"], members_of(other)[7]["statement"]):
        lines = lines_of(log)
        lines[7] = edited(lines[7], statement=statement)
        rewrite(log, chained(lines))
        true_head(log)
        assert findings(log)[0].code == "checkpoint_wrong"  # that much is seen without a key


def test_what_was_signed_for_something_else_is_no_checkpoint(log: Path) -> None:
    """A token, or another statement of the same issuer, is not taken for a checkpoint."""
    lines = lines_of(log)
    good = json.loads(lines[7])
    token = KEY.issue("agent", ["t"]).token
    other = KEY.attest({"log": good["log"], "seq": 7})
    for statement in (token, other):
        rewrite(log, chained([*lines[:7], edited(lines[7], statement=statement), *lines[8:]]))
        true_head(log)
        assert findings(log, KEY.anchor)[0].code == "checkpoint_wrong"


def test_a_statement_is_no_token() -> None:
    text = KEY.attest({"jti": "x", "sub": "admin"})
    guard = remit.Guard([KEY.anchor])
    with pytest.raises(remit.TokenRejected) as caught:
        guard.validate(text)
    assert caught.value.code == "token_malformed"


def test_a_statement_always_names_its_issuer_and_must_be_json() -> None:
    import base64

    payload = KEY.attest({"iss": "https://other.example"}).split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["iss"] == KEY.uri
    for wrong in (None, 5, "x", [("a", 1)], {"a": object()}, {5: 1}, {"a": float("nan")}):
        with pytest.raises(remit.ConfigError):
            KEY.attest(wrong)  # type: ignore[arg-type]  # the mistake itself


def test_the_key_of_a_log_is_not_in_it(log: Path) -> None:
    key = log.parent / "key"
    KEY.save(key)
    private = json.loads(key.read_text())["private_key"].split("\n")[1]
    written = b"".join(file.read_bytes() for file in log.parent.glob("audit*"))
    assert private.encode() not in written
    assert b"PRIVATE" not in written


def test_a_log_in_a_table_is_signed_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    with SqliteAudit(path, every=8, signer=KEY) as audit:
        for number in range(11):
            audit.record(record(number))
    assert sound(path, KEY.anchor).unsigned == 0
    assert codes(path, OTHER_KEY.anchor)[0] == "checkpoint_untrusted"
    assert verify_log(path, [KEY.anchor]).checkpoint is not None

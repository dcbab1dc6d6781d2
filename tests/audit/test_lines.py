"""What a line holds, and that no text in a record gets out of it."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit
from remit.audit import AuditRecord, JsonlAudit, read_log
from remit.audit.line import MAX_LINE, body_of, record_of

from .support import NOW, lines_of, members_of, record, sound

HOSTILE = "\x1b]0;owned\x07\x1b[31m\r\nallowed\x00\x7f\x9b\u202e\u2028é😀\\\"'"


def test_a_line_holds_every_member_of_its_record_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    full = record(
        issuer="https://auth.acme.example",
        token_id="t-2",
        code="argument_denied",
        reason="No.",
        arguments_digest="d",
        subject="KEY",
        arguments={"amount": 5, "tags": ["a", {"b": None}]},
    )
    with JsonlAudit(path) as audit:
        audit.record(full)
    line = members_of(path)[1]
    assert (line.pop("seq"), len(line.pop("prev"))) == (2, 43)
    assert line == dict(full)


@pytest.mark.parametrize(
    "member", ["call_id", "agent", "capability", "token_id", "issuer", "code", "reason", "subject"]
)
def test_control_characters_and_escapes_for_terminals_stay_inside_their_line(
    tmp_path: Path, member: str
) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:
        audit.record(record(0, **{member: HOSTILE}))
        audit.record(record(chain=(HOSTILE,), arguments={HOSTILE: [HOSTILE]}))
    text = path.read_bytes()
    assert len(lines_of(path)) == 4  # two checkpoints, two records
    assert set(text) <= {0x0A, *range(0x20, 0x7F)}
    assert members_of(path)[1][member] == HOSTILE
    assert members_of(path)[2]["arguments"] == {HOSTILE: [HOSTILE]}
    sound(path)


def test_a_lone_surrogate_is_replaced_since_no_strict_reader_would_take_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:
        audit.record(record(capability="a\ud800b", reason="\udfff", chain=("\udc00x",)))
    assert members_of(path)[1]["capability"] == "a\ufffdb"
    assert members_of(path)[1]["chain"] == ["\ufffdx"]
    sound(path)


def test_a_reason_of_ten_megabytes_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:
        audit.record(record(reason="x" * 10_000_000, subject="\x00" * 10_000_000))
    line = members_of(path)[1]
    assert line["reason"] == "x" * 4096 + "… (10000000 characters)"
    assert path.stat().st_size < 50_000
    sound(path)


def test_a_record_too_long_for_a_line_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:
        with pytest.raises(remit.Denied) as caught:
            audit.record(record(chain=("x" * 4000,) * 300))
        assert caught.value.code == "audit_unavailable"
        assert str(MAX_LINE) in caught.value.reason
        audit.record(record())
    sound(path)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        {"event": "decision"},
        record(at=float("nan")),
        record(at=float("inf")),
        record(at="now"),
        record(agent=5),
        record(chain=(5,)),
        record(chain=7),
        record(reason=b"x"),
        record(event=None),
    ],
    ids=repr,
)
def test_what_is_no_record_is_refused_and_leaves_the_log_as_it_was(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:
        audit.record(record())
        before = path.read_bytes()
        with pytest.raises(remit.ConfigError, match="cannot be recorded"):
            audit.record(wrong)
        assert path.read_bytes() == before
    sound(path)


_TEXTS = st.one_of(st.none(), st.text(alphabet=st.characters(), max_size=40))


@given(
    agent=_TEXTS,
    capability=_TEXTS,
    reason=_TEXTS,
    chain=st.lists(st.text(max_size=8), max_size=3),
    at=st.floats(0, 1e11),
    allowed=st.booleans(),
)
def test_a_record_is_read_back_as_it_was_written(  # noqa: PLR0917 - what Hypothesis makes
    agent: str | None, capability: str | None, reason: str | None, chain: list[str], at: float, allowed: bool
) -> None:
    given_record = record(
        agent=agent, capability=capability, reason=reason, chain=tuple(chain), at=at, allowed=allowed
    )
    text = body_of(given_record)
    assert text.isascii()
    assert text.isprintable()
    read = record_of(json.loads(f"{{{text}}}"))
    lone = any(0xD800 <= ord(c) < 0xE000 for t in (agent, capability, reason, *chain) for c in t or "")
    assert lone or read == given_record


def test_arguments_in_clear_cannot_be_changed_and_can_be_hashed_copied_and_pickled() -> None:
    mine: dict[str, Any] = {"a": [1, {"b": 2}]}
    made = record(arguments=mine)
    mine["a"].append("later")
    assert made.arguments == {"a": [1, {"b": 2}]}
    seen: Any = made.arguments
    seen["a"].append("later")  # a fresh copy each time
    seen = made["arguments"]
    seen["more"] = 1  # as above
    assert made.arguments == {"a": [1, {"b": 2}]}
    assert dict(made)["arguments"] == {"a": [1, {"b": 2}]}
    with pytest.raises(TypeError):
        made.arguments["a"] = 1  # type: ignore[index]  # the mistake itself
    same = record(arguments={"a": [1, {"b": 2}]})
    assert made == same
    assert hash(made) == hash(same)
    assert made != record(arguments={"a": [1]})
    assert record() != made
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 - our own
        assert again == made
    assert repr(made.arguments) == "RecordedArguments({'a': [1, {'b': 2}]})"
    assert made.arguments is not None
    assert (list(made.arguments), len(made.arguments)) == (["a"], 1)


@pytest.mark.parametrize(
    "arguments",
    [{"a": object()}, {"a": float("nan")}, {"a": "\ud800"}, {5: 1}],
    ids=["object", "not a number", "surrogate", "no name"],
)
def test_arguments_without_a_json_form_make_no_record(arguments: Any) -> None:
    with pytest.raises(remit.ConfigError):
        record(arguments=arguments)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"event": "decision"},
        {"event": "decision", "at": "x", "allowed": True},
        {"event": "decision", "at": 1, "allowed": 1},
        {"event": 5, "at": 1, "allowed": True},
        {"event": "decision", "at": 1, "allowed": True, "chain": [1]},
        {"event": "decision", "at": 1, "allowed": True, "chain": "x"},
        {"event": "decision", "at": 1, "allowed": True, "agent": 1},
        {"event": "decision", "at": 1, "allowed": True, "arguments": []},
    ],
    ids=repr,
)
def test_a_line_that_is_none_of_a_record_is_shown_and_explained(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps({"seq": 1, "prev": "A" * 43, **members}) + "\n")
    [entry] = read_log(path)
    assert (entry.seq, entry.members, entry.record) == (1, members, None)
    assert entry.problem == "the line is not an audit record"


def test_a_record_is_a_mapping_of_what_it_says() -> None:
    made: AuditRecord = record()
    assert "arguments" not in dict(made)
    assert made["at"] == NOW
    with pytest.raises(KeyError):
        made["arguments"]

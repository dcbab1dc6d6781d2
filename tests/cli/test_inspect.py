"""`remit inspect`: what a chain says, link by link, whatever it says."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.encoding import b64url_encode
from remit.keys import HolderKey
from remit.token import Claims, Envelope

from .support import URI, Deployment, forged, payload_of, run


def links_of(*tokens: str) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = json.loads(run("inspect", "-", "--json", stdin=json.dumps(tokens)).stdout)[
        "links"
    ]
    return links


def text_of(*tokens: str) -> str:
    return run("inspect", "-", stdin=json.dumps(tokens)).stdout


@pytest.fixture
def parent() -> remit.Credential:
    issuer = remit.Issuer.generate(URI)
    return issuer.issue(
        "coordinator",
        [
            "prices:read",
            remit.Capability(
                "trades:propose", symbol=remit.OneOf("ACME", "INIT"), amount=remit.Range(max=1000)
            ),
            remit.Capability("files:read", path=remit.Path("/data").optional()).with_other_arguments(),
        ],
        secrets={"API_KEY": ["trades:propose", "prices:read"], "OTHER": ["prices:read"]},
        limits={"trades:propose": remit.Limit(max_uses=3)},
        max_depth=3,
        ttl="1h",
    )


@pytest.fixture
def plain() -> remit.Credential:
    """A root token whose header announces nothing, so that anything can be forged from it."""
    return remit.Issuer.generate(URI).issue("agent-a", ["tool:use"])


def test_it_needs_neither_a_key_nor_a_policy_file(parent: remit.Credential, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert parent.token_id in run("inspect", parent.token).stdout
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_it_has_not_verified(parent: remit.Credential) -> None:
    text = text_of(forged(parent.token, sub="admin", exp=1))
    assert "agent 'admin'" in text
    after = text.partition("Not verified:\n")[2]
    for what in ("signatures", "issuer is trusted", "times", "revoked", "holds its key"):
        assert what in after
    document = json.loads(run("inspect", parent.token, "--json").stdout)
    assert document["verified"] is False
    assert len(document["not_verified"]) == 5


def test_a_root_is_shown_in_full(parent: remit.Credential) -> None:
    [link] = links_of(parent.token)
    payload = payload_of(parent.token)
    assert link["token_id"] == parent.token_id
    assert link["expires_at"] == payload["exp"]
    assert link["may_be_delegated"] == 3
    assert link["narrowed"] is None
    assert link["secrets"] == {"API_KEY": ["prices:read", "trades:propose"], "OTHER": ["prices:read"]}
    assert link["limits"] == {"trades:propose": {"max_uses": 3}}
    assert set(link["capabilities"]) == {"prices:read", "trades:propose", "files:read"}
    text = text_of(parent.token)
    for line in (
        "'prices:read': any arguments",
        "'trades:propose': 'amount' a number of at most 1000; 'symbol' one of 'ACME', 'INIT'",
        "'files:read': 'path' a plain absolute path under '/data' (or left out); any other arguments",
        "secret 'OTHER', from 'prices:read'",
        "'trades:propose': 3 uses",
        "may be delegated 3 times",
    ):
        assert line in text


def test_a_child_is_shown_by_what_it_narrowed(parent: remit.Credential) -> None:
    child = parent.delegate(
        "worker",
        [
            remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(min=1, max=100)),
            remit.Capability("files:read", path=remit.Path("/data/a")),
        ],
        secrets={"API_KEY": ["trades:propose"]},
        limits={"trades:propose": remit.Limit(rate="1/s", budget={"amount": 150.5})},
        delegate_only=["files:read"],
        ttl="10m",
        session="s-1",
        task="t-1",
        audience=["desk", "back office"],
        max_depth=1,
    )
    _, link = links_of(*child.chain)
    kinds = {(change["kind"], change["what"], change.get("capability")) for change in link["narrowed"]}
    assert kinds == {
        ("capability_removed", "prices:read", None),
        ("argument", "amount", "trades:propose"),
        ("argument", "symbol", "trades:propose"),
        ("argument", "path", "files:read"),
        ("other_arguments", "", "files:read"),
        ("secret_removed", "OTHER", None),
        ("secret_narrowed", "API_KEY", None),
        ("limit", "", "trades:propose"),
        ("delegate_only", "files:read", None),
        ("expiry", "", None),
        ("session", "s-1", None),
        ("task", "t-1", None),
        ("audience", "", None),
        ("depth", "", None),
    }
    assert not any("widens" in change for change in link["narrowed"])
    text = text_of(*child.chain)
    for line in (
        "'prices:read' removed",
        "'trades:propose': 'amount' a number of at most 1000 -> a number of at least 1 and at most 100",
        "'trades:propose': 'symbol' one of 'ACME', 'INIT' -> 'ACME'",
        "'files:read': other arguments anything -> not given",
        "secret 'API_KEY': from 'prices:read', 'trades:propose' -> from 'trades:propose'",
        "'trades:propose': limited to 1 in 1 seconds, 150.5 in all of 'amount'",
        "'files:read': to pass on and not to use",
        "bound to session 's-1'",
        "bound to task 't-1'",
        "for 'desk', 'back office' alone",
        "may be delegated 2 -> 1 times",
    ):
        assert line in text
    assert "WIDER" not in text


def test_a_window_that_opens_later_is_shown(parent: remit.Credential) -> None:
    later = datetime.now(UTC) + timedelta(minutes=5)
    child = parent.delegate("worker", ["prices:read"], not_before=later)
    [change] = [one for one in links_of(*child.chain)[1]["narrowed"] if one["kind"] == "not_before"]
    assert change["after"] == str(int(later.timestamp()))
    assert f"not before {later:%Y-%m-%d %H:%M:%S} UTC" in text_of(*child.chain)
    root = remit.Issuer.generate(URI).issue(
        "a", ["t"], not_before=later, session="s", task="t", audience="desk", secrets=["S"]
    )
    text = text_of(root.token)
    for line in (
        "not before ",
        "bound to session 's'",
        "bound to task 't'",
        "for 'desk' alone",
        "secret 'S', from 't'",
    ):
        assert line in text


def test_a_child_that_says_the_same_says_so(parent: remit.Credential) -> None:
    child = parent.delegate(
        "worker",
        list(parent.capabilities),
        secrets={"API_KEY": ["trades:propose", "prices:read"], "OTHER": ["prices:read"]},
        max_depth=2,
    )
    assert links_of(*child.chain)[1]["narrowed"] == []
    assert "nothing; it says what its parent says" in text_of(*child.chain)


def test_what_is_wider_is_marked(parent: remit.Credential) -> None:
    child = parent.delegate("worker", [parent.capability("trades:propose")], session="s-1")
    details = payload_of(child.token)["authorization_details"]
    details[0]["tools"] = {
        "trades:propose": {"amount": {"constraint_type": "range", "max": 5000}, "symbol": {"constraint_type": "one_of", "values": ["ACME"]}},
        "admin:all": {},
    }  # fmt: skip
    wide = forged(
        child.token, authorization_details=details, exp=payload_of(parent.token)["exp"] + 1, del_max_depth=9
    )
    changes = {
        change["kind"]: change for change in links_of(parent.token, wide)[1]["narrowed"] if "widens" in change
    }
    assert set(changes) == {"argument", "capability_added", "expiry", "depth"}
    text = text_of(parent.token, wide)
    assert (
        "'admin:all' added  WIDER than its parent, so a guard refuses it: the parent does not grant it"
        in text
    )
    other = forged(child.token, sid="s-2")
    assert (
        links_of(child.token, other)[1]["narrowed"][0]["widens"]
        == "the parent is bound to another session, 's-1'"
    )


CONTROLS = [
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x07\x08",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "[bold red]x[/]",
    "[link=http://x]y[/link]",
    ":skull:",
    "\u200b",
]


@pytest.mark.parametrize("hostile", CONTROLS, ids=ascii)
def test_no_name_reaches_the_terminal_as_it_is(hostile: str, plain: remit.Credential) -> None:
    """Whatever a forged token holds, wherever the format has room for it."""
    places: list[dict[str, Any]] = [
        {"iss": f"x:{hostile}"},
        {"aud": [hostile, "b"]},
        {"authorization_details": [{"type": "attenuating_agent_token", "tools": {hostile: {hostile: {"constraint_type": "exact", "value": hostile}}, f"secret:{hostile}": {"tool": {"constraint_type": "one_of", "values": [hostile]}}}}]},
        {"authorization_details": [{"type": "attenuating_agent_token", "tools": {"t": {"a": {"constraint_type": "one_of", "values": [[hostile], {hostile: hostile}]}, "b": {"constraint_type": "fields", "fields": {hostile: {"constraint_type": "prefix", "prefix": hostile}}}}}}]},
        *({name: hostile} for name in ("sub", "sid", "task", "jti")),
    ]  # fmt: skip
    looked_at = 0
    for claims in places:
        token = forged(plain.token, **claims)
        for result in (
            run("inspect", token, status=None),
            run("inspect", token, "--json", status=None),
            run("inspect", "-", stdin=json.dumps([plain.token, token]), status=None),
        ):
            assert result.exit_code in {0, 1}
            looked_at += result.exit_code == 0
            text = result.output.translate({ord(char): None for char in "\n│├└─"})
            assert text.isascii()
            assert text.isprintable()
        if hostile.startswith("[bold") and "sub" in claims:
            assert hostile in run("inspect", token).stdout
    assert looked_at >= 9, "names are the issuer's to choose, all but those of agents, sessions and tasks"


def test_a_header_is_shown_escaped_as_well(parent: remit.Credential) -> None:
    head, body, signature = parent.token.split(".")
    members = json.loads(base64.urlsafe_b64decode(head + "=="))
    hostile = b64url_encode(json.dumps({**members, "kid": "\x1b]0;x\x07"}).encode())
    output = run("inspect", f"{hostile}.{body}.{signature}").stdout
    assert "\x1b" not in output
    assert "'\\x1b]0;x\\x07'" in output


def many_values() -> dict[str, Any]:
    return {
        f"a{k}": {"constraint_type": "one_of", "values": [f"{'v' * 20}{n}" for n in range(5)]}
        for k in range(8)
    }


def many_clauses(last: int) -> dict[str, Any]:
    """What takes the product of two sizes to compare: clauses of which each is looked for among the others."""
    clauses = [{"constraint_type": "prefix", "prefix": f"{n}"} for n in range(100)]
    return {
        f"a{k}": {
            "constraint_type": "any",
            "constraints": [*clauses, {"constraint_type": "prefix", "prefix": f"x{last}"}],
        }
        for k in range(4)
    }


@pytest.mark.parametrize("kind", ["values", "clauses"])
def test_nine_tokens_of_any_size_take_no_time(kind: str, plain: remit.Credential) -> None:
    tokens = []
    for number in range(9):
        tools = (
            {f"t{k}": many_values() for k in range(15)} if kind == "values" else {"t": many_clauses(number)}
        )
        details = [{"type": "attenuating_agent_token", "tools": tools}]
        tokens.append(forged(plain.token, jti=f"j-{number}", authorization_details=details))
    assert 200_000 < sum(map(len, tokens)) <= 262_144
    started = time.monotonic()
    assert len(links_of(*tokens)) == 9
    text = text_of(*tokens)
    assert time.monotonic() - started < 20
    assert len(text) < 50_000
    assert kind == "clauses" or "-> one of" in text or "nothing; it says what its parent says" in text


def test_more_than_anybody_reads_is_counted(plain: remit.Credential) -> None:
    details = [{"type": "attenuating_agent_token", "tools": {f"t{k}": {} for k in range(100)}}]
    text = text_of(forged(plain.token, authorization_details=details))
    assert "... and 60 more; --json shows all" in text


@pytest.mark.parametrize("count", [10, 200])
def test_more_tokens_than_a_chain_may_have_are_refused(count: int, parent: remit.Credential) -> None:
    result = run("inspect", "-", "--json", stdin=json.dumps([parent.token] * count), status=1)
    assert json.loads(result.stdout)["code"] in {"token_malformed", "token_chain_invalid"}


def test_a_token_that_is_too_large_is_refused(parent: remit.Credential) -> None:
    result = run("inspect", "-", "--json", stdin=forged(parent.token, jti="x" * 70_000), status=1)
    assert json.loads(result.stdout)["code"] == "token_malformed"


def test_the_token_that_is_malformed_is_named(parent: remit.Credential) -> None:
    document = json.loads(
        run("inspect", "-", "--json", stdin=json.dumps([parent.token, "x.y.z"]), status=1).stdout
    )
    assert (document["code"], document["link"]) == ("token_malformed", 1)


def test_a_token_of_another_implementation_is_shown(deployment: Deployment) -> None:
    """One without the profile's additions: no agent, no limits, no nbf."""
    key = HolderKey.generate()
    claims = Claims(
        id="j-1",
        issuer="urn:other",
        holder=key.public,
        issued_at=0,
        expires_at=1,
        depth=0,
        max_depth=0,
        tools=None,
    )
    token = claims.signed(key).text
    assert Envelope.read(token, "aat+jwt").header.kid is None
    [link] = links_of(token)
    assert (link["agent"], link["capabilities"]) == (key.public.thumbprint, {})
    assert "nothing" in text_of(token)

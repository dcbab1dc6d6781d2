"""A service that issues something else than it was asked for, or says something else."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import remit
from remit.keys import HolderKey

from .support import NOW, FakeService, Reply, Request, as_json

ADMIN = "hunter2-hunter2-hunter2-hunter2"
TOOL = remit.Capability("tool:use", size=remit.Range(max=10))
ASKED: dict[str, Any] = {
    "session": "s",
    "task": "t",
    "audience": ["desk"],
    "ttl": "2m",
    "max_depth": 1,
    "limits": {"tool:use": remit.Limit(max_uses=3, rate="2/m", budget={"size": 20})},
    "secrets": {"KEY": ["tool:use"]},
    "delegate_only": ["other:use"],
}


@pytest.fixture
def issuer(service: FakeService) -> Iterator[remit.RemoteIssuer]:
    with remit.RemoteIssuer(service.url, admin_token=ADMIN, clock=service.clock) as made:
        yield made


def issued(service: FakeService, usual: dict[str, Any], **twisted: Any) -> remit.Credential:
    return service.issuer.issue(**{**usual, **twisted})


def grants(service: FakeService, **twisted: Any) -> None:
    """Have the service issue what was asked for, but for what is twisted."""

    def issue(request: Request) -> Reply:
        body = request.members()
        holder = {"kty": "OKP", "crv": "Ed25519", "x": body["subject_pubkey"]}
        usual = {**ASKED, "agent": body["agent"], "capabilities": [TOOL], "holder": holder}
        return as_json({"token": issued(service, usual, **twisted).token})

    service.replies["/v1/tokens"] = issue


def ask(issuer: remit.RemoteIssuer, **options: Any) -> remit.Credential:
    return issuer.issue("worker", [TOOL], **{**ASKED, **options})


def test_what_was_asked_for_is_taken_and_what_is_sent_is_that(
    service: FakeService, issuer: remit.RemoteIssuer
) -> None:
    grants(service)
    credential = ask(issuer)
    assert credential.has_key
    [request] = service.server.requests
    body = request.members()
    assert request.headers["authorization"] == f"Bearer {ADMIN}"
    assert request.headers["content-type"] == "application/json"
    assert body["expires_in_seconds"] == 120
    assert body["secrets"] == {"KEY": ["tool:use"]}
    assert body["authorization_details"][0]["tools"].keys() == {"tool:use", "other:use"}
    assert "d" not in body
    assert credential._key is not None
    assert credential._key.private_jwk()["d"] not in str(body)


SMALLER: dict[str, dict[str, Any]] = {
    "nothing less": {},
    "fewer capabilities": {"delegate_only": None, "capabilities": [TOOL]},
    "narrower": {"capabilities": [remit.Capability("tool:use", size=remit.Range(max=5))]},
    "no secret": {"secrets": None},
    "shorter": {"ttl": "10s"},
    "no depth": {"max_depth": 0},
    "stricter limits": {
        "limits": {"tool:use": remit.Limit(max_uses=1, rate="2/m", budget={"size": 5, "more": 1})}
    },
    "more limits": {"limits": {**ASKED["limits"], "other:use": remit.Limit(max_uses=1)}},
    "more to be passed on only": {"delegate_only": ["other:use", "tool:use"]},
}


@pytest.mark.parametrize("name", SMALLER)
def test_a_service_may_grant_less(service: FakeService, issuer: remit.RemoteIssuer, name: str) -> None:
    grants(service, **SMALLER[name])
    assert ask(issuer).agent == "worker"


@pytest.mark.parametrize("name", ["session", "task", "audience"])
def test_a_service_may_restrict_more(service: FakeService, issuer: remit.RemoteIssuer, name: str) -> None:
    grants(service)
    assert ask(issuer, **{name: None}).agent == "worker"


WIDER: dict[str, dict[str, Any]] = {
    "another key": {"holder": HolderKey.generate().public.jwk},
    "another agent": {"agent": "root"},
    "another capability": {"capabilities": [TOOL, "more:use"]},
    "any arguments": {"capabilities": ["tool:use"]},
    "a wider argument": {"capabilities": [remit.Capability("tool:use", size=remit.Range(max=11))]},
    "another secret": {"secrets": {"KEY": ["tool:use"], "OTHER": ["tool:use"]}},
    "a secret from elsewhere": {"secrets": {"KEY": ["tool:use", "other:use"]}},
    "no limits": {"limits": None},
    "a limit of less": {"limits": {"tool:use": remit.Limit(max_uses=3)}},
    "more uses": {"limits": {"tool:use": remit.Limit(max_uses=4, rate="2/m", budget={"size": 20})}},
    "a faster rate": {"limits": {"tool:use": remit.Limit(max_uses=3, rate="3/m", budget={"size": 20})}},
    "a larger budget": {"limits": {"tool:use": remit.Limit(max_uses=3, rate="2/m", budget={"size": 21})}},
    "a budget of another argument": {
        "limits": {"tool:use": remit.Limit(max_uses=3, rate="2/m", budget={"n": 1})}
    },
    "to be used": {"delegate_only": None, "capabilities": [TOOL, "other:use"]},
    "no session": {"session": None},
    "another session": {"session": "x"},
    "no task": {"task": None},
    "another task": {"task": "x"},
    "no audience": {"audience": None},
    "another audience": {"audience": ["desk", "elsewhere"]},
    "a longer life": {"ttl": "121s"},
    "more depth": {"max_depth": 2},
}


@pytest.mark.parametrize("name", WIDER)
def test_what_is_wider_or_another_is_not_taken(
    service: FakeService, issuer: remit.RemoteIssuer, name: str
) -> None:
    grants(service, **WIDER[name])
    with pytest.raises(remit.TokenRejected) as caught:
        ask(issuer)
    assert caught.value.code == "token_malformed"
    assert caught.value.reason.startswith("The token that the service issued ")


@pytest.mark.parametrize("away", [-200, 200], ids=["behind", "ahead"])
def test_a_token_of_another_time_is_not_taken(
    service: FakeService, issuer: remit.RemoteIssuer, away: int
) -> None:
    other = remit.RemoteIssuer(service.url, admin_token=ADMIN, clock=lambda: NOW + away)
    grants(service)
    with pytest.raises(remit.TokenRejected):
        ask(other)
    ask(issuer)


def test_a_derived_token_is_not_taken(service: FakeService, issuer: remit.RemoteIssuer) -> None:
    def issue(request: Request) -> Reply:
        holder = {"kty": "OKP", "crv": "Ed25519", "x": request.members()["subject_pubkey"]}
        parent = service.issuer.issue("p", [TOOL], max_depth=1)
        return as_json({"token": parent.delegate("worker", [TOOL], holder=holder, ttl="1m").token})

    service.replies["/v1/tokens"] = issue
    with pytest.raises(remit.TokenRejected, match="is not a root"):
        issuer.issue("worker", [TOOL])


@pytest.mark.parametrize(
    "token",
    [None, 7, "", "a.b.c", "x" * 70_000, ["t"]],
    ids=["none", "number", "empty", "dots", "long", "list"],
)
def test_what_is_no_token_is_not_taken(service: FakeService, issuer: remit.RemoteIssuer, token: Any) -> None:
    service.replies["/v1/tokens"] = lambda _: as_json({"token": token})
    with pytest.raises(remit.TokenRejected, match="The token that the service issued"):
        issuer.issue("worker", [TOOL])


# ── what the service says ───────────────────────────────────────────────────────────────────────────────────


def refusal(call: Callable[[], object]) -> tuple[type[Exception], str, str]:
    with pytest.raises(remit.RemitError) as caught:
        call()
    return type(caught.value), str(getattr(caught.value, "code", "")), str(caught.value)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (401, {"code": "token_revoked", "reason": "It was."}, (remit.TokenRejected, "token_revoked")),
        (
            403,
            {"code": "capability_missing", "reason": "No."},
            (remit.CapabilityDenied, "capability_missing"),
        ),
        (403, {"code": "limit_exceeded", "reason": "No."}, (remit.LimitExceeded, "limit_exceeded")),
        (403, {"code": "secret_denied", "reason": "No."}, (remit.SecretDenied, "secret_denied")),
        (503, {"code": "ledger_unavailable", "reason": "No."}, (remit.TokenRejected, "ledger_unavailable")),
        (503, {"code": "audit_unavailable", "reason": "No."}, (remit.TokenRejected, "audit_unavailable")),
        (400, {"error": "invalid_grant", "code": "proof_replayed"}, (remit.TokenRejected, "proof_replayed")),
        (400, {"code": "invalid_request", "reason": "A reason."}, (remit.ConfigError, "")),
        (400, {"error": "invalid_scope", "error_description": "A reason."}, (remit.ConfigError, "")),
        (401, {"code": "unauthorized", "reason": "A reason."}, (remit.ConfigError, "")),
        (404, {"code": "not_found", "reason": "A reason."}, (remit.ConfigError, "")),
        (413, None, (remit.ConfigError, "")),
        (400, {"code": 7, "reason": ["x"]}, (remit.ConfigError, "")),
        (429, {"code": "too_many_failures", "reason": "Wait."}, (remit.TokenRejected, "ledger_unavailable")),
        (503, {"code": "key_revoked", "reason": "Rotate."}, (remit.TokenRejected, "ledger_unavailable")),
        (500, None, (remit.TokenRejected, "ledger_unavailable")),
        (302, None, (remit.TokenRejected, "ledger_unavailable")),
        (200, None, (remit.TokenRejected, "ledger_unavailable")),
    ],
    ids=str,
)
def test_what_the_service_refuses_comes_out_as_a_refusal_of_remit(
    service: FakeService, issuer: remit.RemoteIssuer, status: int, said: Any, expected: Any
) -> None:
    reply = Reply(status, kind="text/html", body=b"<html>") if said is None else as_json(said, status)
    service.replies["/v1/tokens"] = lambda _: reply
    found = refusal(lambda: issuer.issue("worker", [TOOL]))
    assert found[:2] == expected
    if said and isinstance(said.get("reason"), str):
        assert said["reason"] in found[2]


def test_a_reason_is_kept_short_and_printable(service: FakeService, issuer: remit.RemoteIssuer) -> None:
    service.replies["/v1/tokens"] = lambda _: as_json(
        {"code": "x", "reason": "\x1b[31m\n" + "long " * 500}, 400
    )
    said = refusal(lambda: issuer.issue("worker", [TOOL]))[2]
    assert len(said) < 400
    assert said.isprintable()


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"tokens": {}, "next": None},
        {"tokens": [{}], "next": None},
        {"tokens": ["t"], "next": None},
        {"tokens": [], "next": 7},
        {"tokens": [], "next": ""},
        {"tokens": [], "next": "again"},
        {"tokens": [{"token_id": "t", "agent": "a", "issuer": "no uri", "holder": "h", "issued_at": 1, "expires_at": 2, "capabilities": [], "revoked": False}], "next": None},
        {"tokens": [{"token_id": "t", "agent": "a", "issuer": "i:x", "holder": "h", "issued_at": -1, "expires_at": 2, "capabilities": [], "revoked": False}], "next": None},
        {"tokens": [{"token_id": "t", "agent": "a", "issuer": "i:x", "holder": "h", "issued_at": 1, "expires_at": 2, "revoked": False}], "next": None},
    ],
    ids=range(10),
)  # fmt: skip
def test_a_list_that_is_none_is_a_refusal(
    service: FakeService, issuer: remit.RemoteIssuer, page: Any
) -> None:
    service.replies["/v1/tokens"] = lambda _: as_json(page)
    assert refusal(lambda: list(issuer.tokens()))[:2] == (remit.TokenRejected, "ledger_unavailable")
    assert len(service.server.requests) <= 2


@pytest.mark.parametrize("said", [{}, {"already": "no"}, {"already": None}], ids=str)
def test_a_revocation_that_is_not_confirmed_is_none(
    service: FakeService, issuer: remit.RemoteIssuer, said: Any
) -> None:
    service.replies["/v1/tokens/a%2Fb"] = lambda _: as_json(said)
    assert refusal(lambda: issuer.revoke("a/b"))[:2] == (remit.TokenRejected, "ledger_unavailable")


@pytest.mark.parametrize("said", [{}, {"nonce": 5}], ids=str)
def test_without_a_nonce_nothing_is_exchanged(
    service: FakeService, issuer: remit.RemoteIssuer, said: Any
) -> None:
    service.replies["/v1/nonce"] = lambda _: as_json(said)
    held = service.issue(max_depth=1)
    assert refusal(lambda: issuer.exchange(held, "leaf", ["tool:use"]))[1] == "ledger_unavailable"
    assert service.server.paths() == ["/v1/nonce"]


@pytest.mark.parametrize(
    "twisted",
    [{"ttl": "7d"}, {"secrets": {"KEY": ["tool:use", "other:use"]}, "capabilities": [TOOL, "other:use"]}],
    ids=["longer", "wider"],
)
def test_what_comes_for_a_credential_is_no_wider_and_lives_no_longer(
    service: FakeService, issuer: remit.RemoteIssuer, twisted: dict[str, Any]
) -> None:
    def exchanged(request: Request) -> Reply:
        jwk = json.loads(request.form()["req_cnf"])["jwk"]
        usual = {"agent": "leaf", "capabilities": [TOOL], "holder": jwk}
        return as_json({"access_token": issued(service, usual, **twisted).token})

    service.replies["/v1/nonce"] = lambda _: as_json({"nonce": "n"})
    service.replies["/token"] = exchanged
    held = service.issuer.issue("a", [TOOL], max_depth=1)
    with pytest.raises(remit.TokenRejected, match="The token that the service issued"):
        issuer.exchange(held, "leaf", [TOOL])
    assert held._key is not None
    assert held._key.private_jwk()["d"] not in service.server.requests[-1].body.decode()


# ── arguments and secrets ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [
        {"admin_token": "", "client": None},
        {"admin_token": "hunter2\r\nx: y"},
        {"admin_token": "hunter2 hunter2"},
        {"admin_token": b"hunter2"},
        {"admin_token": "hünter2"},
        {"admin_token": "hunter2" * 1000},
        {"client": "hunter2"},
        {"client": ("a",)},
        {"client": ("a", "hunter2", "x")},
        {"client": ("", "hunter2")},
        {"client": ("a", "")},
        {"client": ("a", 7)},
        {"client": ("a", "hunter2\ud800")},
        {"admin_token": ADMIN, "client": ("a", "hunter2")},
        {"clock": 7},
        {"timeout": 0},
    ],
    ids=range(16),
)
def test_arguments_that_make_no_sense_are_refused_and_not_shown(options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        remit.RemoteIssuer("https://auth.example", **options)
    assert "hunter2" not in f"{caught.value}{caught.value.__context__}"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("",), {}),
        (("worker", []), {}),
        (("worker", ["t"]), {"ttl": "x"}),
        (("worker", ["t"]), {"limits": {"u": remit.Limit(max_uses=1)}}),
        (("worker", ["t"]), {"secrets": {"K": ["u"]}}),
        (("worker", ["t"]), {"holder": {"kty": "OKP"}}),
        (("worker", ["t"]), {"max_depth": -1}),
        (("worker",), {"secrets": ["K"]}),
        (("worker",), {"limits": {}}),
        (("worker",), {"delegate_only": ["t"]}),
    ],
    ids=range(10),
)
def test_what_makes_no_sense_is_not_sent(
    service: FakeService, issuer: remit.RemoteIssuer, arguments: Any, options: Any
) -> None:
    with pytest.raises(remit.ConfigError):
        issuer.issue(*arguments, **options)
    assert service.server.requests == []


@pytest.mark.parametrize(
    "options",
    [{"ttl": 5}, {"session": "s"}, {"task": "t"}, {"audience": "a"}, {"max_depth": 0}, {"secrets": ["K"]}],
    ids=str,
)
def test_a_client_asks_for_capabilities_alone_and_for_itself(
    service: FakeService, options: dict[str, Any]
) -> None:
    client = remit.RemoteIssuer(service.url, client=("a", "hunter2-hunter2"))
    with pytest.raises(remit.ConfigError):
        client.issue("a", ["tool:use"], **options)
    with pytest.raises(remit.ConfigError):
        client.issue("b", ["tool:use"])
    assert service.server.requests == []


@pytest.mark.parametrize(
    "options", [{"admin_token": ADMIN}, {"client": ("worker", ADMIN)}], ids=["admin", "client"]
)
def test_secrets_are_shown_nowhere(service: FakeService, options: dict[str, Any]) -> None:
    issuer = remit.RemoteIssuer(service.url, **options, clock=service.clock)
    calls = [lambda: issuer.issue("worker", ["t"]), lambda: list(issuer.tokens()), lambda: issuer.revoke("t")]
    said = [repr(issuer), str(issuer), repr(vars(issuer)), *[refusal(call)[2] for call in calls]]
    assert not [text for text in said if ADMIN in text]
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        for part in (issuer, issuer._signin):
            with pytest.raises(TypeError):
                take(part)


def test_anchors_are_shared_by_those_who_ask(service: FakeService, issuer: remit.RemoteIssuer) -> None:
    assert issuer.anchors() is issuer.anchors()
    assert issuer.anchors().anchors() == (service.issuer.anchor,)
    feed = issuer.feed()
    service.revoke(token_id="t")
    assert feed.position().number == 1
    guard = remit.Guard(trust=issuer.anchors(), ledger=feed, clock=service.clock)
    guard.check(service.issue(), "tool:use", {})


def test_the_issuer_of_tokens_may_have_another_name_than_the_service(service: FakeService) -> None:
    other = "https://auth.acme.example"
    service.replies["/.well-known/oauth-authorization-server"] = lambda _: as_json(
        {
            "issuer": service.url,
            "jwks_uri": f"{service.url}/.well-known/jwks.json",
            "remit_token_issuer": other,
        }
    )
    assert [anchor.issuer for anchor in remit.RemoteAnchors(service.url).anchors()] == [other]
    service.replies["/.well-known/oauth-authorization-server"] = lambda _: as_json(
        {"issuer": service.url, "jwks_uri": f"{service.url}/.well-known/jwks.json", "remit_token_issuer": 7}
    )
    with pytest.raises(remit.ConfigError):
        remit.RemoteAnchors(service.url)

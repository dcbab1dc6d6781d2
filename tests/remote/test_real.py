"""Against the real service: tokens, keys and revocations over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.keys import HolderKey

from .real import ADMIN, CLIENT, URI, Real, running
from .support import checked, verdict

TRADE = remit.Capability("trades:propose", symbol=remit.OneOf("ACME"), amount=remit.Range(max=10))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with running(tmp_path_factory.mktemp("real")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Real]:
    """A service of the test's own, to be changed."""
    with running(tmp_path) as made:
        yield made


@pytest.fixture
def admin(real: Real) -> Iterator[remit.RemoteIssuer]:
    with remit.RemoteIssuer(real.url, admin_token=ADMIN) as made:
        yield made


@pytest.fixture
def client(real: Real) -> Iterator[remit.RemoteIssuer]:
    with remit.RemoteIssuer(real.url, client=CLIENT) as made:
        yield made


def guard_of(issuer: remit.RemoteIssuer, **options: Any) -> remit.Guard:
    return remit.Guard(issuer.anchors(), ledger=issuer.feed(), **options)


def eventually(found: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not found():
        if time.monotonic() > end:
            pytest.fail("it never came true")
        time.sleep(0.01)


def test_the_administrator_has_a_token_issued_and_a_guard_elsewhere_takes_it(
    admin: remit.RemoteIssuer,
) -> None:
    credential = admin.issue(
        "worker",
        [TRADE, "prices:read"],
        secrets={"BROKER_API_KEY": ["trades:propose"]},
        ttl="2m",
        session="s-1",
        task="t-1",
        audience=["desk", "floor"],
        max_depth=1,
        limits={"trades:propose": remit.Limit(max_uses=2, rate="10/m", budget={"amount": 15.5})},
        delegate_only=["prices:read"],
    )
    assert (credential.agent, credential.issuer, credential.session, credential.task) == (
        "worker",
        URI,
        "s-1",
        "t-1",
    )
    assert set(credential.capabilities) == {TRADE, remit.Capability("prices:read")}
    assert credential.secrets == ("BROKER_API_KEY",)
    assert credential.has_key
    guard = guard_of(admin, audience="desk")
    guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 10}, session="s-1", task="t-1")
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("limit_exceeded", "trades:propose", {"symbol": "ACME", "amount": 6}),
        ("argument_denied", "trades:propose", {"symbol": "ACME", "amount": 11}),
        ("delegate_only", "prices:read", {}),
    ]
    for code, capability, arguments in refused:
        with pytest.raises(remit.Denied) as caught:
            guard.check(credential, capability, arguments, session="s-1", task="t-1")
        assert caught.value.code == code
    child = credential.delegate("child", ["prices:read"], ttl="1m")
    guard.check(child, "prices:read", {"any": 1}, session="s-1", task="t-1")
    presentation = credential.present("trades:propose", {"symbol": "ACME", "amount": 1}, audience="desk")
    guard.verify(presentation, "trades:propose", {"symbol": "ACME", "amount": 1}, session="s-1", task="t-1")


def test_the_defaults_are_those_of_an_issuer(admin: remit.RemoteIssuer) -> None:
    credential = admin.issue("worker", ["prices:read"])
    assert 590 < credential.expires_at.timestamp() - time.time() <= 600
    assert credential.secrets == ()
    assert not credential.limits
    with pytest.raises(remit.AttenuationError):
        credential.delegate("x", ["prices:read"])


def test_what_the_policy_file_grants_is_there_for_the_asking(admin: remit.RemoteIssuer) -> None:
    credential = admin.issue("pricing-agent")
    assert {capability.name for capability in credential.capabilities} == {
        "trades:propose",
        "prices:read",
        "orders:read",
    }
    assert credential.limits == {"trades:propose": remit.Limit(max_uses=3)}
    credential.delegate("a", ["prices:read"], max_depth=1).delegate("b", ["prices:read"])
    assert admin.issue("pricing-agent", ttl="1m", max_depth=0, session="s").session == "s"


def test_a_holder_that_has_its_own_key_keeps_it(admin: remit.RemoteIssuer) -> None:
    key = HolderKey.generate()
    issued = admin.issue("worker", ["prices:read"], holder=key.public.jwk)
    assert not issued.has_key
    held = remit.Credential.from_token(issued.chain, key.private_jwk())
    guard_of(admin).check(held, "prices:read", {})


def test_a_client_gets_what_the_policy_file_grants_it(client: remit.RemoteIssuer) -> None:
    whole = client.issue("pricing-agent")
    assert {capability.name for capability in whole.capabilities} == {
        "trades:propose",
        "prices:read",
        "orders:read",
    }
    assert whole.secrets == ("BROKER_API_KEY",)
    assert whole.limits == {"trades:propose": remit.Limit(max_uses=3)}
    guard_of(client).check(whole, "trades:propose", {"symbol": "ACME", "amount": 5})
    part = client.issue("pricing-agent", ["prices:read"])
    assert {capability.name for capability in part.capabilities} == {"prices:read"}
    limited = remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(min=1, max=5))
    with pytest.raises(remit.LimitExceeded):  # one token at a time, so that counters are not had anew
        client.issue("pricing-agent", [limited])


@pytest.mark.parametrize(
    "asked",
    [["users:read"], [remit.Capability("trades:propose", amount=remit.Range(max=10**6))]],
    ids=["name", "wider"],
)
def test_a_client_gets_no_more(client: remit.RemoteIssuer, asked: list[Any]) -> None:
    with pytest.raises(remit.ConfigError, match="the service refuses the request"):
        client.issue("pricing-agent", asked)


@pytest.mark.parametrize(
    "options",
    [{"admin_token": "wrong-" * 8}, {"client": ("plain", "x" * 40)}, {"client": ("pricing-agent", "wrong")}],
    ids=["admin", "no client", "wrong secret"],
)
def test_nobody_else_is_let_in(real: Real, options: dict[str, Any]) -> None:
    agent = options.get("client", ("plain",))[0]
    with (
        remit.RemoteIssuer(real.url, **options) as issuer,
        pytest.raises(remit.ConfigError, match="status 401"),
    ):
        issuer.issue(agent, ["prices:read"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ttl": "60d"}, "expires_in_seconds"),
        ({"secrets": ["UNKNOWN"]}, "UNKNOWN"),
        ({"max_depth": 9}, "max_depth"),
    ],
    ids=["ttl", "secret", "depth"],
)
def test_what_makes_no_sense_to_the_service_is_an_error_with_its_reason(
    admin: remit.RemoteIssuer, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(remit.ConfigError, match=said):
        admin.issue("worker", ["prices:read"], **arguments)


def test_what_is_revoked_is_revoked_once_and_refused_elsewhere(admin: remit.RemoteIssuer) -> None:
    guard = guard_of(admin)
    first, second = admin.issue("worker", ["prices:read"]), admin.issue("worker", ["prices:read"])
    guard.check(first, "prices:read", {})
    assert admin.revoke(first.token_id, reason="it's lost & gone?") is True
    assert admin.revoke(first.token_id) is False
    eventually(lambda: verdict(lambda: guard.check(first, "prices:read", {})) == "token_revoked")
    assert verdict(lambda: guard.check(second, "prices:read", {})) == "allowed"


def test_the_tokens_that_are_out_are_listed(
    admin: remit.RemoteIssuer, real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.remote.issuer._PAGE", 2)
    issued = [admin.issue("listed-agent", ["prices:read"], session="s") for _ in range(5)]
    admin.revoke(issued[0].token_id)
    found = list(admin.tokens(agent="listed-agent"))
    assert {token.token_id for token in found} == {credential.token_id for credential in issued[1:]}
    assert found[0] == real.instance.ledger.token(found[0].token_id)
    assert {token.token_id for token in found} <= {token.token_id for token in admin.tokens()}


def test_a_client_lists_and_revokes_nothing(client: remit.RemoteIssuer, real: Real) -> None:
    for issuer in (client, remit.RemoteIssuer(real.url)):
        with pytest.raises(remit.ConfigError, match="administrator"):
            issuer.revoke("t-1")
        with pytest.raises(remit.ConfigError, match="administrator"):
            list(issuer.tokens())
    with pytest.raises(remit.ConfigError):
        remit.RemoteIssuer(real.url).issue("plain", ["prices:read"])


# ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_credential_is_exchanged_for_a_narrower_root(admin: remit.RemoteIssuer, real: Real) -> None:
    parent = admin.issue(
        "origin",
        [TRADE, "prices:read"],
        max_depth=2,
        ttl="5m",
        secrets={"BROKER_API_KEY": ["trades:propose"]},
    )
    child = parent.delegate("middle", [TRADE], max_depth=1, secrets=["BROKER_API_KEY"])
    anybody = remit.RemoteIssuer(real.url)
    narrower = remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(max=3))
    issued = anybody.exchange(child, "leaf", [narrower], ttl="1m", session="s", task="t", audience="desk")
    assert (issued.agent, len(issued.chain), issued.secrets) == ("leaf", 1, ("BROKER_API_KEY",))
    guard = guard_of(admin, audience="desk")
    guard.check(issued, "trades:propose", {"symbol": "ACME", "amount": 3}, session="s", task="t")
    admin.revoke(parent.token_id)
    eventually(lambda: verdict(lambda: guard.validate(issued, session="s", task="t")) == "token_revoked")


def test_an_exchange_widens_nothing(admin: remit.RemoteIssuer) -> None:
    parent = admin.issue("origin", [TRADE], max_depth=1)
    for asked in (["trades:propose"], ["prices:read"]):
        with pytest.raises(remit.ConfigError, match="status 400"):
            admin.exchange(parent, "leaf", asked)
    with pytest.raises(remit.TokenRejected) as caught:
        admin.exchange(remit.Credential.from_token(parent.chain), "leaf", [TRADE])
    assert caught.value.code == "proof_missing"


def test_a_revoked_credential_is_not_exchanged(admin: remit.RemoteIssuer) -> None:
    parent = admin.issue("origin", [TRADE], max_depth=1)
    admin.revoke(parent.token_id)
    with pytest.raises(remit.TokenRejected) as caught:
        admin.exchange(parent, "leaf", [TRADE])
    assert caught.value.code == "token_revoked"


# ── keys and outages ────────────────────────────────────────────────────────────────────────────────────────


def test_keys_rotate_under_load_and_no_valid_token_is_refused(own: Real) -> None:
    issuer = remit.RemoteIssuer(own.url, admin_token=ADMIN)
    guard = guard_of(issuer)
    old = issuer.issue("worker", ["prices:read"])
    retired = issuer.anchors().anchors()[0].key.thumbprint
    ended = threading.Event()

    def load() -> set[str]:
        found = set()
        while not ended.is_set():
            credential = issuer.issue("worker", ["prices:read"])
            found.add(checked(guard, credential, "prices:read"))
        return found

    with ThreadPoolExecutor(3) as pool:
        running_ = [pool.submit(load) for _ in range(3)]
        time.sleep(0.2)
        own.rotate()
        time.sleep(0.6)
        ended.set()
        found = set().union(*[run.result(30) for run in running_])
    assert found == {"allowed"}
    assert len(issuer.anchors().anchors()) == 2
    assert verdict(lambda: guard.check(old, "prices:read", {})) == "allowed"
    own.retire(retired)
    eventually(lambda: len(own.instance.keys.anchors()) == 1)
    issuer.anchors()._watched._due = 0  # the five minutes are over
    eventually(lambda: len(issuer.anchors().anchors()) == 1)
    assert verdict(lambda: guard.check(old, "prices:read", {})) == "token_signature_invalid"
    assert (
        verdict(lambda: guard.check(issuer.issue("worker", ["prices:read"]), "prices:read", {})) == "allowed"
    )
    issuer.close()


def test_a_compromised_key_is_refused_at_once_and_the_feed_goes_on_with_the_next(own: Real) -> None:
    issuer = remit.RemoteIssuer(own.url, admin_token=ADMIN)
    guard = guard_of(issuer)
    old = issuer.issue("worker", ["prices:read"])
    guard.check(old, "prices:read", {})
    kid = own.instance.keys.issuer().anchor.key.thumbprint
    own.rotate()
    own.instance.guard.revoke_key(kid)
    # Through the feed, or as the service publishes the key no more.
    eventually(lambda: verdict(lambda: guard.check(old, "prices:read", {})) != "allowed")
    eventually(lambda: [entry.key for entry in guard.revocations()] == [kid])
    assert (
        verdict(lambda: guard.check(issuer.issue("worker", ["prices:read"]), "prices:read", {})) == "allowed"
    )
    issuer.close()


def test_a_service_that_is_away_is_a_refusal(tmp_path: Path) -> None:
    with running(tmp_path) as made:
        issuer = remit.RemoteIssuer(made.url, admin_token=ADMIN, timeout=1)
        credential = issuer.issue("worker", ["prices:read"])
        guard = guard_of(issuer)
        guard.check(credential, "prices:read", {})
    for call in (
        lambda: issuer.issue("worker", ["prices:read"]),
        lambda: issuer.revoke("t"),
        lambda: list(issuer.tokens()),
        lambda: issuer.exchange(credential, "leaf", ["prices:read"]),
    ):
        with pytest.raises(remit.TokenRejected) as caught:
            call()
        assert caught.value.code == "ledger_unavailable"
    assert verdict(lambda: guard.check(credential, "prices:read", {})) == "allowed"
    issuer.close()

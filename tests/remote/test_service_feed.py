"""The feed as the service gives it: bounded, signed, public, without reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import remit
from remit.token import FEED, Envelope

from .real import URI, Real, running

LATER = 2**33


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with running(tmp_path_factory.mktemp("feed")) as made:
        made.instance.ledger.revoke(
            [
                remit.Revocation(revoked_at=5.5, expires_at=LATER, token_id="t-1", reason="a private reason"),
                remit.Revocation(revoked_at=5.5, expires_at=LATER, agent="a", issued_until=35.5),
                remit.Revocation(revoked_at=5.5, expires_at=LATER, token_id="t-2"),
            ]
        )
        yield made


def get(real: Real, query: str = "") -> httpx.Response:
    return httpx.get(f"{real.url}/v1/revocations{query}", trust_env=False)


def page(real: Real, query: str = "") -> dict[str, Any]:
    response = get(real, query)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/jwt")
    assert response.headers["cache-control"] == "no-store"
    said = Envelope.read(response.text, FEED, max_size=10**7).opened_with(
        real.instance.keys.issuer().anchor.key
    )
    assert said is not None
    return dict(said)


def test_it_says_everything_in_order_and_no_reasons(real: Real) -> None:
    said = page(real)
    position = real.instance.ledger.position()
    assert abs(said.pop("iat") - real.instance.clock()) < 60
    assert said == {
        "iss": URI,
        "since": 0,
        "store": position.store,
        "number": position.number,
        "more": False,
        "entries": [["token:t-1", LATER, None], ["agent:a", LATER, 35.5], ["token:t-2", LATER, None]],
    }
    assert "private" not in get(real).text


def test_it_goes_on_where_the_page_before_ended(real: Real) -> None:
    first = page(real, "?limit=2")
    assert (len(first["entries"]), first["more"], first["number"]) == (2, True, 2)
    second = page(real, f"?since={first['number']}&limit=2")
    assert (second["entries"], second["more"], second["since"]) == ([["token:t-2", LATER, None]], False, 2)
    assert page(real, "?since=3")["entries"] == []
    beyond = page(real, "?since=9007199254740991")
    assert (beyond["entries"], beyond["more"]) == ([], False)


def test_it_repeats_a_nonce(real: Real) -> None:
    assert page(real, "?nonce=Abc-_.~9")["nonce"] == "Abc-_.~9"
    assert "nonce" not in page(real)


@pytest.mark.parametrize(
    "query",
    [
        "?since=-1", "?since=1.0", "?since=+1", "?since=%201", "?since=01", "?since=1_0", "?since=0x1", "?since=", "?since=a",
        "?since=9007199254740992", "?since=99999999999999999999999", "?since=%D9%A1", "?since=1&since=2", "?limit=0", "?limit=5001",
        "?limit=-1", "?limit=1e3", "?limit=", "?nonce=", "?nonce=a%20b", "?nonce=%00", "?nonce=%ff", "?nonce=" + "a" * 129,
        "?nonce=a&nonce=b", "?unknown=1", "?since",
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(real: Real, query: str) -> None:
    response = get(real, query)
    assert response.status_code == 400
    assert response.json().keys() == {"code", "reason"}


def test_nothing_but_reading(real: Real) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert httpx.request(method, f"{real.url}/v1/revocations", trust_env=False).status_code == 405


def test_a_ledger_that_does_not_answer_is_no_empty_page(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("/private/path")

    monkeypatch.setattr(real.instance.ledger, "changes", broken)
    response = get(real)
    assert (response.status_code, response.json()["code"]) == (503, "ledger_unavailable")
    assert "private" not in response.text


def test_the_largest_page_is_signed_and_read(tmp_path: Path) -> None:
    names = [f"{number:04}{chr(0x1D49C) * 252}" for number in range(5_001)]
    with running(tmp_path) as own:
        own.instance.ledger.revoke(
            [
                remit.Revocation(revoked_at=5.5, expires_at=LATER, agent=name, issued_until=35.25)
                for name in names
            ]
        )
        said = page(own, "?limit=5000")
        assert (len(said["entries"]), said["more"]) == (5_000, True)
        issuer = remit.RemoteIssuer(own.url)
        feed = issuer.feed()
        feed.position()
        assert {entry.agent for entry in feed.revocations()} == set(names)
        feed.close()
        issuer.close()


def test_a_key_that_was_revoked_signs_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as own:
        own.instance.guard.revoke_key(own.instance.keys.issuer().anchor.jwk)
        response = get(own)
        assert (response.status_code, response.json()["code"]) == (503, "key_revoked")
        own.rotate()
        assert page(own)["number"] == 1

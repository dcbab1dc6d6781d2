"""Sessions: what a cookie must be to count as one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest

import remit
from remit.encoding import b64url_encode
from remit.service.console.session import LIFETIME, Sessions

from .support import ADMIN, COOKIE, Clock, Console, client_of

HASH = hashlib.sha256(ADMIN.encode()).digest()


def sessions_of(console: Console, admin: bytes | None = HASH) -> Sessions:
    return Sessions(console.instance.keys, admin, console.instance.clock)


def is_in(console: Console, cookie: str) -> bool:
    console.client.cookies.clear()
    response = console.client.get("/console/agents", headers={"Cookie": f"{COOKIE}={cookie}"})
    return response.status_code == 200


def test_a_session_counts_at_every_instance_with_the_same_key_and_token(console: Console) -> None:
    made = sessions_of(console).start()
    with console.deployment.instance(clock=console.instance.clock) as other:
        response = client_of(other).get("/console/agents", headers={"Cookie": f"{COOKIE}={made.cookie}"})
    assert response.status_code == 200


def test_a_session_ends_after_an_hour_however_much_it_was_used(signed_in: Console, clock: Clock) -> None:
    for _ in range(3):
        clock.now += LIFETIME / 4
        assert signed_in.get("/console/agents").status_code == 200
    clock.now += LIFETIME / 4
    assert signed_in.get("/console/agents").status_code == 303


def test_a_session_that_would_last_longer_than_one_does_is_none(console: Console, clock: Clock) -> None:
    clock.now += 10 * LIFETIME
    cookie = sessions_of(console).start().cookie
    clock.now -= 10 * LIFETIME
    assert not is_in(console, cookie)


@pytest.mark.parametrize("part", range(4))
def test_no_character_of_a_cookie_can_be_another(console: Console, part: int) -> None:
    cookie = sessions_of(console).start().cookie
    assert is_in(console, cookie)
    parts = cookie.split(".")
    for i, char in enumerate(parts[part]):
        other = "1" if char != "1" else "2"
        changed = [*parts[:part], parts[part][:i] + other + parts[part][i + 1 :], *parts[part + 1 :]]
        assert sessions_of(console).read(".".join(changed)) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda cookie: "",
        lambda cookie: cookie + "=",
        lambda cookie: cookie + "\n",
        lambda cookie: cookie[:-1],
        lambda cookie: f"{cookie}.{cookie}",
        lambda cookie: cookie.replace(".", "..", 1),
        lambda cookie: "x" * 100_000,
        lambda cookie: cookie.encode().hex(),
        lambda cookie: ".".join(["\u0661" if part.isdecimal() else part for part in cookie.split(".")]),
    ],
    ids=["empty", "padded", "line-feed", "short", "twice", "dots", "long", "hex", "arabic-digits"],
)
def test_what_has_not_the_form_of_a_cookie_is_none(console: Console, edit: Callable[[str], str]) -> None:
    assert sessions_of(console).read(edit(sessions_of(console).start().cookie)) is None


def test_a_new_admin_token_ends_all_sessions(console: Console) -> None:
    cookie = sessions_of(console).start().cookie
    assert sessions_of(console, hashlib.sha256(b"another").digest()).read(cookie) is None
    assert sessions_of(console, None).read(cookie) is None


def test_the_issuers_key_alone_makes_no_session(console: Console) -> None:
    kid, secret = next(iter(console.instance.keys.derived("console").items()))
    stated = f"{kid}.{int(console.instance.clock()) + 60}.{'A' * 22}"
    for message in (f"session\0{stated}", f"session\0\0{stated}", stated):
        mac = b64url_encode(hmac.digest(secret, message.encode(), hashlib.sha256))
        assert sessions_of(console).read(f"{stated}.{mac}") is None


def test_a_session_of_another_issuer_is_none(console: Console) -> None:
    cookie = sessions_of(console).start().cookie
    other = remit.Issuer.generate("https://auth.acme.example")

    class Keys:
        def derived(self, purpose: str) -> dict[str, bytes]:
            return {cookie.split(".")[0]: other.derive_key(purpose)}

    assert Sessions(Keys(), HASH, console.instance.clock).read(cookie) is None  # type: ignore[arg-type]


def test_a_session_outlives_the_rotation_of_the_key(signed_in: Console) -> None:
    key = signed_in.deployment.folder / "issuer.key"
    old = signed_in.instance.keys.issuer()
    key.unlink()
    new = remit.Issuer.generate(old.anchor.issuer)
    new.save(key)
    new.anchor.save(signed_in.deployment.folder / "anchors" / "new.json")
    assert signed_in.get("/console/agents").status_code == 200
    assert signed_in.instance.keys.issuer().anchor == new.anchor


def test_a_cookie_holds_no_secret(console: Console) -> None:
    cookie = sessions_of(console).start().cookie
    secret = console.instance.keys.derived("console")
    assert ADMIN not in cookie
    assert HASH.hex() not in cookie
    assert not any(b64url_encode(each) in cookie or each.hex() in cookie for each in secret.values())


def test_two_sessions_have_tokens_of_their_own(console: Console) -> None:
    sessions = sessions_of(console)
    first, second = sessions.start(), sessions.start()
    assert first.cookie != second.cookie
    assert first.is_form_token(first.form_token)
    assert not first.is_form_token(second.form_token)
    assert not first.is_form_token("")
    assert not first.is_form_token("\udc80 é")
    assert first.form_token not in first.cookie

"""The door: signing in and out, and what every page and every form must pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remit.service.gate import MAX_FAILURES

from .support import ADMIN, COOKIE, PAGES, Clock, Console, Deployment, client_of, words_of

_TAG = re.compile(r"<[^>]*>")
_INLINE = re.compile(r"""\s(style|on[a-z]+)\s*=|javascript:""")
_ELSEWHERE = re.compile(r"""\s(src|href|action)="(?!/console/|#main")""")
ANSWERED = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def test_without_a_session_every_page_leads_to_the_sign_in(console: Console) -> None:
    console.issue()
    for page in ("/console", "/console/", *PAGES, "/console/agents?before=", "/console/a/b"):
        response = console.get(page)
        assert (response.status_code, response.headers["location"]) == (303, "/console/sign-in")
        assert not response.content
        assert response.headers["cache-control"] == "no-store"


def test_without_a_session_no_form_is_looked_at(console: Console) -> None:
    token_id = console.issue().token_id
    for page in ("/console/revoke", "/console/sign-out"):
        response = console.post(page, {"token": token_id, "form_token": "x"})
        assert (response.status_code, response.headers["location"]) == (303, "/console/sign-in")
    assert console.instance.guard.revocations() == []


def test_every_page_says_what_a_browser_may_do_with_it(signed_in: Console) -> None:
    nobody = client_of(signed_in.instance)
    for response in (nobody.get("/console/sign-in"), *map(signed_in.get, PAGES)):
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert ANSWERED.items() <= dict(response.headers).items()


def test_nothing_in_a_page_is_inline_or_from_elsewhere(signed_in: Console) -> None:
    credential = signed_in.issue(max_depth=1)
    child = credential.delegate(agent="worker", capabilities=["prices:read"])
    signed_in.call(child, "prices:read")
    signed_in.call(child, "mail:send")
    nobody = client_of(signed_in.instance)
    for page in (nobody.get("/console/sign-in"), *map(signed_in.get, PAGES)):
        tags = _TAG.findall(page.text)
        assert [tag for tag in tags if _INLINE.search(tag)] == []
        assert [tag for tag in tags if _ELSEWHERE.search(tag)] == []
        scripts = [
            tag for tag in tags if tag.startswith(("<script", "<style", "<iframe", "<object", "<base"))
        ]
        assert len(scripts) == 1
        assert scripts[0].startswith('<script src="/console/static/console.js?v=')


def test_signing_in_makes_a_session_that_only_this_browser_has(console: Console) -> None:
    response = console.sign_in()
    assert (response.status_code, response.headers["location"]) == (303, "/console/agents")
    (cookie,) = response.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}=")
    said = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert said == {"httponly", "max-age=3600", "path=/console", "samesite=strict", "secure"}
    assert console.get("/console/agents").status_code == 200
    assert console.get("/console/sign-in").headers["location"] == "/console/agents"


@pytest.mark.parametrize(
    ("url", "base", "secure"),
    [
        ("https://auth.acme.example", "http://auth.acme.example", True),  # a proxy has ended TLS
        ("https://auth.acme.example", "http://127.0.0.1:8000", False),
        ("https://auth.acme.example", "http://localhost", False),
        ("https://auth.acme.example", "http://[::1]:8000", False),
        ("https://auth.acme.example", "http://127.0.0.1.evil.example", True),
        ("http://auth.acme.example", "http://auth.acme.example", False),
        ("http://auth.acme.example", "https://auth.acme.example", True),
    ],
)
def test_the_cookie_is_kept_to_tls_wherever_there_is_tls(
    tmp_path: Path, url: str, base: str, secure: bool
) -> None:
    deployment = Deployment.make(tmp_path / "deployment", service=f'url = "{url}"')
    with deployment.instance() as instance:
        client = client_of(instance)
        client.base_url = base
        response = client.post("/console/sign-in", data={"token": ADMIN})
    cookie = response.headers["set-cookie"]
    assert response.status_code == 303
    assert ("; secure" in cookie.lower()) is secure
    assert cookie.startswith("__Secure-") is secure


def test_a_wrong_token_lets_nobody_in(console: Console) -> None:
    for token in ("", "wrong", ADMIN[:-1], f"{ADMIN} ", ADMIN.upper(), "x" * 100_000, "\u20ac", "\0"):
        response = console.sign_in(token)
        assert response.status_code == 401
        assert "This is not the admin token." in words_of(response)
        assert "set-cookie" not in response.headers
        assert "value=" not in response.text  # what was typed is not shown again
    assert console.get("/console/agents").status_code == 303


def test_guessing_is_slow_and_then_nothing_is_looked_at(console: Console) -> None:
    for _ in range(MAX_FAILURES):
        assert console.sign_in("a guess").status_code == 401
    response = console.sign_in()
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    assert "Too many failures" in words_of(response)
    assert ANSWERED.items() <= dict(response.headers).items()


def test_where_there_is_no_admin_token_nobody_can_sign_in(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "deployment")
    text = deployment.path.read_text()
    deployment.path.write_text(text.replace('admin_token = "env://REMIT_ADMIN_TOKEN"', ""))
    with deployment.instance() as instance:
        console = Console(deployment, instance)
        assert "Nobody can sign in here" in words_of(console.get("/console/sign-in"))
        assert console.sign_in("").status_code == 401
        assert console.sign_in(ADMIN).status_code == 401


def test_signing_out_ends_the_session_in_this_browser(signed_in: Console) -> None:
    response = signed_in.post("/console/sign-out", {"form_token": signed_in.form_token()})
    assert (response.status_code, response.headers["location"]) == (303, "/console/sign-in?notice=out")
    assert "the session has ended in this browser" in signed_in.text("/console/sign-in?notice=out")
    assert "in this browser" not in signed_in.text("/console/sign-in")
    assert "max-age=0" in response.headers["set-cookie"].lower()
    assert signed_in.get("/console/agents").status_code == 303


def test_a_form_without_the_sessions_token_does_nothing(signed_in: Console) -> None:
    token_id = signed_in.issue().token_id
    for given in ({}, {"form_token": ""}, {"form_token": "x"}, {"form_token": "A" * 43}):
        response = signed_in.post("/console/revoke", {"token": token_id, **given})
        assert response.status_code == 403
        assert "was not made for your session" in words_of(response)
    assert signed_in.instance.guard.revocations() == []


def test_a_form_of_another_session_does_nothing(signed_in: Console) -> None:
    token_id, others = signed_in.issue().token_id, signed_in.form_token()
    signed_in.sign_in()
    response = signed_in.post("/console/revoke", {"token": token_id, "form_token": others})
    assert response.status_code == 403
    assert signed_in.instance.guard.revocations() == []


ELSEWHERE: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "", "Origin": "https://auth.acme.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://auth.acme.example.evil.example"},
    {"Origin": "https://auth.acme.example:444"},
    {"Origin": "https://["},
]


def test_a_form_from_elsewhere_does_nothing(signed_in: Console) -> None:
    form = {"token": ADMIN, "form_token": signed_in.form_token()}
    for page in ("/console/revoke", "/console/sign-in", "/console/sign-out"):
        for headers in ELSEWHERE:
            response = signed_in.client.post(page, data=form, headers=headers)
            assert response.status_code == 403, headers
            assert "was not sent from the console" in words_of(response)
            assert "set-cookie" not in response.headers
    assert signed_in.instance.guard.revocations() == []
    assert signed_in.get("/console/agents").status_code == 200


NO_FORM: list[tuple[str, bytes, int]] = [
    ("application/json", b'{"token": "x"}', 415),
    ("multipart/form-data; boundary=x", b"--x--", 415),
    ("application/x-www-form-urlencoded", b"form_token=a&form_token=b", 400),
    ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
    ("application/x-www-form-urlencoded", b"token=%ff", 400),
    ("application/x-www-form-urlencoded", b"a=" + b"x" * 2_000_000, 413),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(200)), 400),
]


def test_what_is_no_form_is_refused(signed_in: Console) -> None:
    for page in ("/console/revoke", "/console/sign-in"):
        for kind, body, status in NO_FORM:
            headers = {"Content-Type": kind, "Sec-Fetch-Site": "same-origin"}
            response = signed_in.client.post(page, content=body, headers=headers)
            assert response.status_code == status, (kind, body[:20])


def test_pages_do_nothing(signed_in: Console) -> None:
    form = {"form_token": signed_in.form_token()}
    for page in ("/console/agents", "/console/graph", "/console/audit", "/console/token"):
        assert signed_in.post(page, form).status_code == 405


def test_files_are_kept_by_browsers_and_found_anew_when_they_change(console: Console) -> None:
    (address,) = [
        part.split('"')[0]
        for part in console.get("/console/sign-in").text.split('href="')
        if part.startswith("/console/static/console.css?v=")
    ]
    response = console.get(address)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    tag = response.headers["etag"]
    again = console.client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    unversioned = console.get(address.partition("?")[0])
    assert (unversioned.status_code, unversioned.headers["cache-control"]) == (200, "no-cache")


def test_no_other_file_is_served(console: Console) -> None:
    for name in ("nothing.css", "..%2f__init__.py", "%2e%2e/session.py", "console.css%00", ".", "base.html"):
        response = console.get(f"/console/static/{name}")
        assert response.status_code in {303, 404}
        assert not response.content


def test_where_signing_in_leads_is_fixed(console: Console, clock: Clock) -> None:
    response = console.client.post(
        "/console/sign-in?next=https://evil.example",
        data={"token": ADMIN, "next": "//evil.example"},
        headers={"Sec-Fetch-Site": "same-origin", "Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )
    assert response.headers["location"] == "/console/agents"

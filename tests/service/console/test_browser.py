"""The console in a real Chromium, at a real `remit serve`: what an operator does, and what a browser makes of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import remit

from .support import ADMIN, Deployment

pytestmark = pytest.mark.servers

OPTIONS: Final = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE: Final = 30_000
"""Milliseconds, after which something that does not come is a failure."""
ATTACK: Final = "<img src=x onerror='window.hit=1'><script>window.hit=2</script>"
PAGES: Final = (
    "agents",
    "graph",
    "audit",
    "audit?verdict=denied",
    "revoke?agent=planner",
    "token?id=TOKEN",
    "token?id=LONG",
)


class World:
    """A service that runs, an agent beside it, and a browser."""

    def __init__(self, deployment: Deployment, url: str, browser: Browser) -> None:
        self.url, self._browser = url, browser
        self.guard = remit.Guard.from_config(deployment.path)
        self.issuer = remit.Issuer.from_config(deployment.path)
        self.planner = self.issue("planner", max_depth=2)
        worker = self.planner.delegate("worker", ["prices:read"])
        self.guard.check(worker, "prices:read", {})
        self.is_refused(worker, "mail:send")
        self.long = self.planner.delegate("w" * 200, ["prices:read"])
        self.guard.check(self.long, "prices:read", {})
        self.is_refused(self.issue(ATTACK, capabilities=[ATTACK]), "prices:read")
        for i in range(3):
            self.issue(
                f"a-rather-long-name-of-an-agent-{i}" * 3, capabilities=["x" * 200, *map(str, range(30))]
            )

    def issue(self, agent: str, **terms: Any) -> remit.Credential:
        """Issue a token."""
        given: dict[str, Any] = {"capabilities": ["prices:read"], "ttl": "1h", **terms}
        return self.issuer.issue(agent=agent, **given)

    def is_refused(self, credential: remit.Credential, capability: str = "prices:read") -> str | None:
        """The code with which the guard refuses a call; None when it does not."""
        try:
            self.guard.check(credential, capability, {})
        except remit.Denied as denial:
            return denial.code
        return None

    def context(self, **options: Any) -> BrowserContext:
        """A browser of its own."""
        context = self._browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        return context


class Desk:
    """A page, and all that its browser complains of or asks for."""

    def __init__(self, context: BrowserContext, world: World) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._url = f"{world.url}/console"
        self.page.on("console", lambda message: self._complain(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self._fail(request.url, request.failure))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _complain(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def _fail(self, url: str, why: str | None) -> None:
        if why != "net::ERR_ABORTED":  # the page was left before it had all
            self.complaints.append(f"{url}: {why}")

    def go(self, page: str) -> None:
        """Go to a page."""
        response = self.page.goto(f"{self._url}/{page}")
        assert response is not None
        assert response.status == 200, page

    def sign_in(self) -> None:
        """Sign in, as a person does."""
        self.go("sign-in")
        self.page.get_by_label("Admin token").fill(ADMIN)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("heading", name="Agents", exact=True)).to_be_visible()

    def tab_to(self, name: str) -> None:
        """Press Tab until what has this name is in focus, and visibly so."""
        for _ in range(200):
            self.page.keyboard.press("Tab")
            focus = self.page.evaluate(
                "() => { const at = document.activeElement; const style = getComputedStyle(at);"
                " return [at.textContent || at.labels?.[0]?.textContent || '', style.outlineStyle,"
                " at.matches('.node'), at.id] }"
            )
            assert focus[1] != "none" or focus[2], f"{focus[0]!r} does not show that it is in focus"
            if " ".join(focus[0].split()) == name or focus[3] == name:
                return
        raise AssertionError(f"{name!r} is not reached")

    def check(self) -> None:
        """Nothing was complained of, and nobody else was asked for anything."""
        assert self.complaints == []
        assert {url for url in self.asked if not url.startswith(f"{self._url}/")} <= {self._url}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of all, for all tests here."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("there is no `chromium`: install Debian's chromium")
    deployment = Deployment.make(tmp_path_factory.mktemp("console") / "deployment")
    with deployment.serve() as serving, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*OPTIONS])
        try:
            yield World(deployment, serving.url, browser)
        finally:
            browser.close()


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    """A page of somebody who has signed in."""
    with world.context() as context:
        desk = Desk(context, world)
        desk.sign_in()
        yield desk
        desk.check()


def test_the_graph_is_seen_and_leads_to_its_tokens(desk: Desk, world: World) -> None:
    desk.page.get_by_role("link", name="Delegation", exact=True).click()
    drawn = desk.page.locator("svg.graph")
    expect(drawn).to_be_visible()
    expect(drawn.locator("path.line")).to_have_count(2)
    node = drawn.get_by_role("link", name=re.compile(r"^worker \(named by planner\), token .*1 call denied$"))
    box = node.locator("rect.box").bounding_box()
    assert box is not None
    assert box["width"] > 100
    node.click()
    expect(desk.page.get_by_role("heading", level=1)).to_contain_text("Token")
    expect(desk.page.locator("[aria-current=true]")).to_have_count(1)
    expect(desk.page.get_by_text("capability_missing")).to_be_visible()


def test_denials_can_be_filtered(desk: Desk) -> None:
    desk.page.get_by_role("link", name="Audit", exact=True).click()
    moments = desk.page.locator(".moment")
    assert moments.count() > desk.page.locator(".moment.denied").count()
    desk.page.get_by_role("link", name="Denied").click()
    expect(moments).to_have_count(desk.page.locator(".moment.denied").count())
    desk.page.locator("summary", has_text="Filter").click()
    desk.page.get_by_label("Agent, in full").fill("worker")
    desk.page.get_by_label("Code").select_option("capability_missing")
    desk.page.get_by_role("button", name="Filter").click()
    expect(moments).to_have_count(1)
    expect(moments).to_contain_text("You may not use 'mail:send'.")


def test_a_token_is_revoked_by_keyboard_alone_and_the_agent_is_refused(desk: Desk, world: World) -> None:
    credential = world.issue("keyboard")
    child = world.issue("keyboard", max_depth=1)
    assert world.is_refused(credential) is None
    desk.go("agents?agent=keyboard")
    desk.page.keyboard.press("Tab")
    expect(desk.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    desk.tab_to(f"Revoke token {credential.token_id}")
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("heading", name="Revoke this token?")).to_be_visible()
    assert world.is_refused(credential) is None
    expect(desk.page.get_by_label("Reason")).to_be_focused()
    desk.page.keyboard.type("left in a log")
    desk.tab_to("Revoke token")
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("status")).to_contain_text("Revoked")
    expect(desk.page.get_by_text("left in a log").first).to_be_visible()
    assert world.is_refused(credential) == "token_revoked"
    assert world.is_refused(child) is None


def test_what_happens_is_followed_until_it_is_paused(desk: Desk, world: World) -> None:
    desk.go("audit?agent=followed")
    expect(desk.page.get_by_text("Nothing here is like that.")).to_be_visible()
    credential = world.issue("followed")
    world.is_refused(credential, "mail:send")
    follow = desk.page.locator("#follow")
    expect(follow).to_have_attribute("aria-pressed", "false")
    follow.click()
    expect(desk.page.locator(".moment.denied")).to_have_count(1)
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "false")
    world.is_refused(credential, "mail:send")
    expect(desk.page.locator(".moment.denied")).to_have_count(1)


def test_no_script_of_anybody_runs(desk: Desk, world: World) -> None:
    for page in ("agents", "graph", "audit"):
        desk.go(page)
        assert ATTACK in (desk.page.text_content("main") or "")
        assert desk.page.evaluate("window.hit") is None
    blocked = desk.page.evaluate(
        "() => { const seen = []; document.addEventListener('securitypolicyviolation',"
        " event => seen.push(event.effectiveDirective)); try { document.body.innerHTML = '<p>' }"
        " catch { seen.push('refused') } return seen }"
    )
    assert "refused" in blocked
    desk.complaints.clear()  # the browser has just said that it refused this


def test_every_page_fits_every_window_light_and_dark(desk: Desk, world: World) -> None:
    for page in PAGES:
        desk.go(page.replace("TOKEN", world.planner.token_id).replace("LONG", world.long.token_id))
        for width in (375, 1400):
            desk.page.set_viewport_size({"width": width, "height": 800})
            wide, seen = desk.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
            assert wide <= seen == width, page
    brightness: list[int] = []
    for scheme in ("light", "dark"):
        desk.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        paper, ink = desk.page.evaluate(
            "() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color] }"
        )
        brightness += [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
    light, dark = brightness[:2], brightness[2:]
    assert light[0] - light[1] > 500
    assert dark[1] - dark[0] > 500


def test_the_console_works_without_javascript(world: World) -> None:
    credential = world.issue("plain")
    with world.context(java_script_enabled=False) as context:
        desk = Desk(context, world)
        desk.sign_in()
        desk.go("audit")
        expect(desk.page.locator("#follow")).to_be_hidden()
        desk.go(f"token?id={credential.token_id}")
        desk.page.get_by_role("link", name="Revoke token").click()
        desk.page.get_by_role("button", name="Revoke token").click()
        expect(desk.page.get_by_role("status")).to_contain_text("Revoked")
        assert world.is_refused(credential) == "token_revoked"
        desk.page.get_by_role("button", name="Sign out").click()
        expect(desk.page.get_by_role("heading", name="Sign in")).to_be_visible()
        desk.go("agents")
        expect(desk.page.get_by_role("heading", name="Sign in")).to_be_visible()
        desk.check()


def test_another_site_cannot_have_a_form_sent_or_the_console_in_a_frame(desk: Desk, world: World) -> None:
    credential = world.issue("victim")
    revoke = f'<form method="post" action="{world.url}/console/revoke">'
    revoke += f'<input name="token" value="{credential.token_id}"><button>Win a prize</button></form>'
    frame = f'<iframe src="{world.url}/console/agents"></iframe>'
    other = desk.page.context.new_page()
    other.route(
        "http://evil.example/", lambda route: route.fulfill(body=revoke + frame, content_type="text/html")
    )
    other.goto("http://evil.example/")
    assert [each.url for each in other.frames] == ["http://evil.example/", "chrome-error://chromewebdata/"]
    other.get_by_role("button").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    assert world.is_refused(credential) is None
    other.close()

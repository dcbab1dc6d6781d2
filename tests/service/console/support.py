"""What the tests of the console share."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.testclient import TestClient

import remit
from remit.record import AuditRecord
from remit.service import Instance

from ..support import ADMIN, Clock, Deployment, client_of  # noqa: TID252 - one deployment for all tests of the service

__all__ = ["ADMIN", "COOKIE", "PAGES", "Clock", "Console", "Deployment", "client_of", "junk", "words_of"]

COOKIE: Final = "__Secure-remit-console"
PAGES: Final = (
    "/console/agents",
    "/console/graph",
    "/console/audit",
    "/console/token?id=nobody-knows",
    "/console/revoke?token=some-token",
    "/console/revoke?agent=some-agent",
    "/console/nowhere",
)
"""Every page of whoever has signed in."""

_FORM_TOKEN: Final = re.compile(r'name="form_token" value="([^"]+)"')
_TAG: Final = re.compile(r"<[^>]*>")


class Console:
    """The console of an instance, as a browser sees it."""

    def __init__(self, deployment: Deployment, instance: Instance) -> None:
        self.deployment, self.instance = deployment, instance
        self.client: TestClient = client_of(instance)

    def sign_in(self, token: str = ADMIN) -> Any:
        """Send the form to sign in."""
        return self.post("/console/sign-in", {"token": token})

    def get(self, address: str) -> Any:
        """Ask for a page."""
        return self.client.get(address)

    def text(self, address: str) -> str:
        """What a page shows, without its tags."""
        response = self.get(address)
        assert response.status_code == 200, response.text
        return words_of(response)

    def post(self, address: str, form: Mapping[str, str], **headers: str) -> Any:
        """Send a form, as a browser does from the console's own page."""
        said = {"Origin": self.instance.url, "Sec-Fetch-Site": "same-origin", **headers}
        return self.client.post(address, data=form, headers=said)

    def form_token(self) -> str:
        """The token in the forms of this session."""
        match = _FORM_TOKEN.search(self.get("/console/agents").text)
        assert match is not None
        return match[1]

    def revoke(self, **target: str) -> Any:
        """Confirm a revocation."""
        return self.post("/console/revoke", {"form_token": self.form_token(), **target})

    def issue(self, agent: str = "pricing-agent", **terms: Any) -> remit.Credential:
        """Issue a token."""
        given: dict[str, Any] = {"capabilities": ["prices:read"], **terms}
        return self.instance.keys.issuer().issue(agent=agent, **given)

    def call(self, credential: remit.Credential, capability: str, **arguments: object) -> str | None:
        """Run a tool under a credential; the code of the denial, None when it ran."""

        @remit.requires_capability(capability)
        def tool(**arguments: object) -> None:
            if arguments.get("fails"):
                raise ValueError

        try:
            with self.instance.guard.acting_as(credential):
                tool(**arguments)
        except remit.Denied as denial:
            return denial.code
        except ValueError:
            pass
        return None

    def record(self, **members: Any) -> None:
        """Write an audit record."""
        assert self.instance.audit is not None
        given: dict[str, Any] = {"event": "decision", "at": self.instance.clock(), "allowed": True, **members}
        self.instance.audit.record(AuditRecord(**given))


def junk(console: Console, count: int) -> None:
    """Add the records of calls with no token to believe, as anybody can cause them."""
    path = console.deployment.folder / "audit.jsonl"
    record = '"event":"decision","at":1,"allowed":false,"code":"token_invalid"'
    with path.open("a") as log:
        log.writelines(f'{{"seq":{10_000 + i},"prev":"{"A" * 43}",{record}}}\n' for i in range(count))


def words_of(response: Any) -> str:
    """What a response shows: its text without tags, blanks as one."""
    return " ".join(html.unescape(_TAG.sub(" ", response.text)).split())

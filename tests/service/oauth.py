"""What the tests of the OAuth face share: a service with two clients, and how its errors are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.testclient import TestClient

import remit
from remit.keys import HolderKey
from remit.service import Instance, create_app

from .support import CLIENT_SECRET, POLICY, Deployment, credential_of, holder

TYPE: Final = "attenuating_agent_token"
OTHER: Final = "w 100%:+agent"
OTHER_SECRET: Final = "the-secret-of-the-other-client-0123456789"
OTHER_POLICY: Final = f"""
[agents."{OTHER}"]
client_secret = "env://OTHER_CLIENT_SECRET"
capabilities = ["users:read", "notes:write"]
delegate_only = ["notes:write"]
session = "s-7"
task = "t-7"
audience = ["https://tools.example"]
max_depth = 1
"""
SIGNED_IN: Final = {"client_id": "pricing-agent", "client_secret": CLIENT_SECRET}
"""How `pricing-agent` signs in."""
OTHER_SIGNED_IN: Final = {"client_id": OTHER, "client_secret": OTHER_SECRET}


@dataclass
class Face:
    """A service in this process. Each of its clients has an address of its own, and may fail to sign in."""

    deployment: Deployment
    instance: Instance
    app: FastAPI
    addresses: count[int] = field(default_factory=lambda: count(1))

    def client(self) -> TestClient:
        """A client at an address that nobody had before."""
        number = next(self.addresses)
        return TestClient(
            self.app,
            base_url=self.instance.url,
            client=(f"198.51.{number // 250}.{number % 250}", 50_000),
            raise_server_exceptions=False,
        )

    def token(self, key: HolderKey, **parameters: str) -> str:
        """A token of `pricing-agent` for `key`; without what is limited unless it is asked for by scope."""
        form = {
            **SIGNED_IN,
            "grant_type": "client_credentials",
            "req_cnf": confirmation(key),
            "scope": "READ",
            **parameters,
        }
        answer = self.client().post("/token", data=form)
        assert answer.status_code == 200, answer.text
        issued: str = answer.json()["access_token"]
        return issued

    def credential(self, **parameters: str) -> remit.Credential:
        """A credential of `pricing-agent`."""
        key = holder()
        return credential_of(self.token(key, **parameters), key)

    def issue(self, *capabilities: str | remit.Capability, **options: Any) -> remit.Credential:
        """A credential from the issuer itself, for `agent-a` unless said otherwise."""
        usual: dict[str, Any] = {"agent": "agent-a", "capabilities": capabilities or ("prices:read",)}
        return self.instance.keys.signing().issue(**{**usual, **options})


def deployed(folder: Path, **options: Any) -> Deployment:
    """A deployment with two clients: `pricing-agent`, and one whose name takes some encoding."""
    made = Deployment.make(folder, policy=POLICY + OTHER_POLICY, **options)
    made.environment["OTHER_CLIENT_SECRET"] = OTHER_SECRET
    return made


@contextmanager
def served(deployment: Deployment, *, clock: Callable[[], float] | None = None) -> Generator[Face]:
    """An instance of a deployment, with its application."""
    with deployment.instance(clock=clock) as instance:
        yield Face(deployment, instance, create_app(instance))


def details(tools: dict[str, Any], **more: Any) -> str:
    """The text of authorization details."""
    return json.dumps([{"type": TYPE, "tools": tools, **more}])


def confirmation(key: HolderKey) -> str:
    """The text of `req_cnf`."""
    return json.dumps({"jwk": key.public.jwk})


def exchange_proof(
    held: remit.Credential,
    form: Mapping[str, str],
    key: HolderKey,
    *,
    audience: str,
    nonce: str | None = None,
) -> str:
    """The text of a presentation for an exchange: its proof is over the request, with the key's thumbprint."""
    request = {**form, "req_cnf": key.public.thumbprint}
    return json.dumps(held.present_for_exchange(request, audience=audience, nonce=nonce).to_dict())


def refused(answer: Any, error: str, status: int = 400) -> dict[str, Any]:
    """The error of an answer, which says it as RFC 6749, Section 5.2, has it, and never what was sent."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"error", "error_description", "code", "reason"}
    assert all(" " <= char <= "~" and char not in '"\\' for char in body["error_description"])
    assert answer.headers["cache-control"] == "no-store"
    assert CLIENT_SECRET not in answer.text
    return body

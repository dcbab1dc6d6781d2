"""Whether an instance lives and can work, its numbers, and its log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from remit.service.telemetry import JsonLines

from .support import ADMIN, CLIENT_SECRET, Deployment, client_of, holder


class Lines(logging.Handler):
    """Keeps what is logged, as the service writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def last(self) -> dict[str, object]:
        """The last line."""
        line: dict[str, object] = json.loads(self.lines[-1])
        return line


@pytest.fixture
def log() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("remit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def numbers(client: TestClient) -> dict[str, float]:
    """What `/metrics` says."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_it_lives_and_can_work(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "ledger": True, "key": True})


def test_without_its_ledger_it_lives_and_cannot_work(deployment: Deployment) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)
        assert client.get("/readyz").status_code == 200
        instance.ledger.close()
        (deployment.folder / "remit.db").unlink()
        (deployment.folder / "remit.db").mkdir()
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "unavailable", "ledger": False, "key": True}
        assert client.get("/healthz").status_code == 200


def test_with_a_revoked_key_it_cannot_work(deployment: Deployment) -> None:
    with deployment.instance() as instance:
        instance.guard.revoke_key(instance.keys.issuer().anchor.key.thumbprint)
        response = client_of(instance).get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "ledger": True, "key": False}


def test_requests_tokens_and_refusals_are_counted(client: TestClient, admin: dict[str, str]) -> None:
    for _ in range(3):
        body = {"subject_pubkey": holder().public.x, "scope": "READ"}
        assert client.post("/v1/tokens", headers=admin, json=body).status_code == 200
    client.post("/v1/tokens/verify", json={"token": "a.b.c"})
    client.get("/v1/tokens", headers={"Authorization": "Bearer wrong"})
    client.delete("/v1/tokens/one", headers=admin)
    client.delete("/v1/tokens/another", headers=admin)
    client.get("/nowhere/at/all")
    client.request("X" * 50, "/healthz")
    found = numbers(client)
    assert found["remit_tokens_issued_total"] == 3
    assert found['remit_denials_total{code="token_malformed"}'] == 1
    assert found['remit_sign_in_failures_total{kind="admin"}'] == 1
    assert found['remit_requests_total{method="POST",route="/v1/tokens",status="200"}'] == 3
    assert found['remit_requests_total{method="DELETE",route="/v1/tokens/{token_id}",status="200"}'] == 2
    assert found['remit_requests_total{method="GET",route="none",status="404"}'] == 1
    assert found['remit_requests_total{method="other",route="/healthz",status="405"}'] == 1
    assert found['remit_request_seconds_count{route="/v1/tokens"}'] == 4


def test_the_numbers_name_nobody(client: TestClient, admin: dict[str, str]) -> None:
    body = {"subject_pubkey": holder().public.x, "scope": "READ", "agent": "a-certain-agent"}
    answer = client.post("/v1/tokens", headers=admin, json=body).json()
    client.delete(f"/v1/tokens/{answer['token_id']}", headers=admin)
    client.get("/a/certain/path")
    shown = client.get("/metrics").text
    for word in ("a-certain-agent", answer["token_id"], "certain/path", "192.0.2.1"):
        assert word not in shown


def test_two_applications_in_one_process_count_each_their_own(
    deployment: Deployment, client: TestClient, admin: dict[str, str]
) -> None:
    with deployment.client() as other:
        body = {"subject_pubkey": holder().public.x, "scope": "READ"}
        other.post("/v1/tokens", headers=admin, json=body)
        assert numbers(other)["remit_tokens_issued_total"] == 1
    assert numbers(client)["remit_tokens_issued_total"] == 0


def test_a_request_is_a_line_of_json(client: TestClient, admin: dict[str, str], log: Lines) -> None:
    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
    response = client.post("/v1/tokens", headers=admin, json=body)
    line = log.last
    assert line["token_id"] == response.json()["token_id"]
    assert line["request_id"] == response.headers["x-request-id"]
    said = {name: line[name] for name in ("level", "message", "method", "route", "status", "client")}
    assert said == {
        "level": "info",
        "message": "request",
        "method": "POST",
        "route": "/v1/tokens",
        "status": 200,
        "client": "192.0.2.1",
    }
    assert set(line) == {*said, "time", "ms", "request_id", "token_id"}


def test_a_refusal_is_logged_with_its_code(client: TestClient, log: Lines) -> None:
    client.post("/v1/tokens/verify", json={"token": "a.b.c"})
    assert (log.last["status"], log.last["code"]) == (401, "token_malformed")
    client.get("/v1/tokens")
    assert (log.last["status"], log.last["code"]) == (401, "unauthorized")


def test_no_secret_and_nothing_of_a_request_is_logged(
    client: TestClient, admin: dict[str, str], log: Lines
) -> None:
    key = holder()
    body = {"subject_pubkey": key.public.x, "scope": "READ", "agent": "agent-in-a-body"}
    answer = client.post("/v1/tokens", headers=admin, json=body).json()
    client.post("/v1/tokens/verify", json={"token": answer["token"], "agent": "somebody"})
    client.post("/v1/tokens/verify?query=in-a-query", json={"token": answer["token"]})
    client.get("/path-of-nowhere/", headers={"Authorization": f"Bearer {ADMIN}", "X-Own": "in-a-header"})
    client.post("/token", data={"client_id": "pricing-agent", "client_secret": CLIENT_SECRET})
    client.get("/v1/tokens", headers={"Authorization": "Bearer a-wrong-admin-token"})
    client.delete("/v1/tokens/some-id?reason=in-a-reason", headers=admin)
    client.delete("/v1/tokens/" + answer["token"], headers=admin)
    text = "\n".join(log.lines)
    assert len(log.lines) >= 8
    words = (
        answer["token"],
        answer["token"].split(".")[2],
        ADMIN,
        CLIENT_SECRET,
        key.public.x,
        "agent-in-a-body",
        "in-a-query",
        "in-a-header",
        "in-a-reason",
        "path-of-nowhere",
        "a-wrong-admin-token",
    )
    assert [word for word in words if word in text] == []


def test_nobody_chooses_the_name_of_a_request(client: TestClient) -> None:
    response = client.get("/healthz", headers={"X-Request-Id": "mine\nforged"})
    assert len(response.headers["x-request-id"]) == 16
    assert int(response.headers["x-request-id"], 16) >= 0


def test_of_a_bug_the_log_has_the_place_and_the_answer_nothing(
    deployment: Deployment, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)

        def broken(*_: object, **__: object) -> None:
            secret = "a-secret-in-a-variable"
            raise RuntimeError(f"it broke on {secret}")

        monkeypatch.setattr(type(instance.guard), "validate", broken)
        response = client.post("/v1/tokens/verify", json={"token": "a.b.c"})
    assert response.status_code == 500
    assert response.json() == {
        "code": "internal_error",
        "reason": "This is a bug; the log knows more.",
    }
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "a-secret-in-a-variable" not in "\n".join(log.lines)
    bug = json.loads(log.lines[-2])
    assert (bug["level"], bug["error"]) == ("error", "RuntimeError")
    assert bug["at"].startswith("tokens.py:")
    assert (log.last["status"], log.last["code"]) == (500, "internal_error")

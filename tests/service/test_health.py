"""Whether an instance lives and can work, its numbers, and its log."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.concurrency import run_in_threadpool
from starlette.testclient import TestClient

from remit.audit import journal, read_log, verify_log
from remit.service import create_app
from remit.service.telemetry import JsonLines, Log, log_as_json

from .support import ADMIN, CLIENT_SECRET, PATIENCE, Deployment, client_of, holder

READY = {"status": "ok", "ledger": True, "key": True, "audit": True}


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
    assert (response.status_code, response.json()) == (200, READY)


def test_without_its_ledger_it_lives_and_cannot_work(deployment: Deployment) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)
        assert client.get("/readyz").status_code == 200
        instance.ledger.close()
        (deployment.folder / "remit.db").unlink()
        (deployment.folder / "remit.db").mkdir()
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {**READY, "status": "unavailable", "ledger": False}
        assert client.get("/healthz").status_code == 200


def test_with_a_revoked_key_it_cannot_work(deployment: Deployment) -> None:
    with deployment.instance() as instance:
        instance.guard.revoke_key(instance.keys.issuer().anchor.key.thumbprint)
        response = client_of(instance).get("/readyz")
    assert response.status_code == 503
    assert response.json() == {**READY, "status": "unavailable", "key": False}


@contextmanager
def full_disk() -> Generator[None]:
    """Have nothing fit into an audit log."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_write_whole", full)
        yield


def test_without_its_audit_log_it_cannot_work_until_that_takes_records_again(
    deployment: Deployment, admin: dict[str, str]
) -> None:
    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
    with deployment.client() as client:
        with full_disk():
            refused = client.post("/v1/tokens", headers=admin, json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "audit_unavailable")
            response = client.get("/readyz")
            assert response.status_code == 503
            assert response.json() == {**READY, "status": "unavailable", "audit": False}
            assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json() == READY
        assert client.get("/readyz").json() == READY
        assert client.post("/v1/tokens", headers=admin, json=body).status_code == 200
    records = [entry.record for entry in read_log(deployment.folder / "audit.jsonl")]
    found = [(one.event, one.code) for one in records if one is not None and one.event != "checkpoint"]
    assert found == [("decision", "audit_unavailable"), ("issue", None)]
    assert verify_log(deployment.folder / "audit.jsonl").ok


def test_without_an_audit_log_there_is_none_to_wait_for(deployment: Deployment) -> None:
    text = deployment.path.read_text().replace('[audit]\npath = "audit.jsonl"\n', "")
    deployment.path.write_text(text)
    with deployment.client() as client:
        assert client.get("/readyz").json() == READY


async def test_it_says_so_while_all_threads_are_waiting_for_something(deployment: Deployment) -> None:
    blocked = threading.Event()
    with deployment.instance() as instance:
        transport = httpx.ASGITransport(create_app(instance))
        async with httpx.AsyncClient(transport=transport, base_url=instance.url) as client:
            waiting = [asyncio.ensure_future(run_in_threadpool(blocked.wait, PATIENCE)) for _ in range(60)]
            try:
                response = await asyncio.wait_for(client.get("/readyz"), PATIENCE / 2)
                assert response.json() == READY
            finally:
                blocked.set()
                await asyncio.gather(*waiting)


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


@contextmanager
def standard_error() -> Generator[int]:
    """Have standard error be a pipe, as long as nothing is read of it."""
    reader, writer = os.pipe()
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(reader)


@contextmanager
def loggers() -> Generator[logging.Logger]:
    """Have what logs put back as it was."""
    own, root = logging.getLogger("remit"), logging.root
    before = own.handlers, own.level, root.handlers, root.level
    yield own
    own.handlers, root.handlers = before[0], before[2]
    own.setLevel(before[1])
    root.setLevel(before[3])


def test_lines_that_nobody_reads_are_dropped_and_nobody_waits() -> None:
    dropped: list[int] = []
    with standard_error() as reader, loggers() as logger:
        with log_as_json() as log:
            log.dropped = lambda: dropped.append(1)
            for _ in range(12_000):
                logger.info("x" * 100)
        assert 0 < len(dropped) < 12_000  # what was taken waits in vain
        os.set_blocking(reader, False)
        until_written(reader, log)


def until_written(reader: int, log: Log) -> None:
    """Read all that is there, so that the thread ends its work before the pipe is gone."""
    for _ in range(PATIENCE * 100):
        try:
            os.read(reader, 1_000_000)
        except BlockingIOError:
            if not log._lines.unfinished_tasks:
                return
            threading.Event().wait(0.01)
    pytest.fail("it does not end")


def test_at_the_end_all_lines_are_there() -> None:
    with standard_error() as reader, loggers() as logger:
        with log_as_json():
            for i in range(200):
                logger.info("line %d", i)
        lines = os.read(reader, 1_000_000).splitlines()
    assert [json.loads(line)["message"] for line in lines] == [f"line {i}" for i in range(200)]


def test_lines_that_are_dropped_are_a_number(client: TestClient) -> None:
    assert numbers(client)["remit_log_lines_dropped_total"] == 0
    client.app.state.metrics.line_dropped()  # type: ignore[attr-defined]
    assert numbers(client)["remit_log_lines_dropped_total"] == 1

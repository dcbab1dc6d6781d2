"""`remit serve`, as a process: how it starts, what it refuses to start with, and how it stops."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from remit.cli.app import app
from remit.service.server import Settings, Tls, listen

from .support import ADMIN, PATIENCE, PROGRAM, Deployment, Serving, holder, surroundings

pytestmark = pytest.mark.servers

_COMMAND = typer.main.get_command(app)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.make(tmp_path_factory.mktemp("serve") / "deployment")


@pytest.fixture(scope="module")
def serving(deployed: Deployment) -> Iterator[Serving]:
    """One that all tests share which do not stop it."""
    with deployed.serve() as made:
        yield made


def failure(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1) -> str:
    """What `remit serve` says, in this process, when it does not start."""
    with pytest.raises(SystemExit) as caught:
        _COMMAND.main(args=["serve", *arguments], prog_name="remit")
    assert caught.value.code == status
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def issue(client: httpx.Client) -> httpx.Response:
    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
    return client.post("/v1/tokens", headers={"Authorization": f"Bearer {ADMIN}"}, json=body)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(PATIENCE * 100):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it does not come about")


def test_it_says_where_it_listens_and_answers_there(serving: Serving) -> None:
    assert serving.pid == serving.process.pid
    assert serving.port > 0
    with serving.client() as client:
        response = issue(client)
    assert response.status_code == 200
    assert "server" not in response.headers
    assert "strict-transport-security" not in response.headers  # which over plain HTTP means nothing


def test_the_log_is_a_line_of_json_for_each_request_and_holds_no_secret(serving: Serving) -> None:
    with serving.client() as client:
        answer = issue(client)
        client.post("/v1/tokens/verify", json={"token": answer.json()["token"]})
    until(lambda: serving.log.count("/v1/tokens/verify") == 1)  # it is written after the answer
    lines = [json.loads(line) for line in serving.log.splitlines()]
    [line] = [one for one in lines if one["request_id"] == answer.headers["x-request-id"]]
    assert (line["route"], line["status"], line["client"]) == ("/v1/tokens", 200, "127.0.0.1")
    assert ADMIN not in serving.log
    assert answer.json()["token"] not in serving.log


async def test_200_requests_at_once_are_all_answered(serving: Serving) -> None:
    headers, limits = {"Authorization": f"Bearer {ADMIN}"}, httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=serving.url, limits=limits, timeout=PATIENCE, trust_env=False
    ) as client:

        async def ask(i: int) -> int:
            match i % 4:
                case 0:
                    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
                    response = await client.post("/v1/tokens", headers=headers, json=body)
                case 1:
                    response = await client.post("/v1/tokens/verify", json={"token": "a.b.c"})
                case 2:
                    response = await client.post("/v1/tokens/verify", content=b"{" * 1000)
                case _:
                    response = await client.get("/readyz")
            assert response.json()
            return response.status_code

        statuses = await asyncio.gather(*map(ask, range(200)))
    assert statuses == [200, 401, 415, 200] * 50


def test_who_is_no_proxy_is_not_believed(serving: Serving) -> None:
    with serving.client() as client:
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        response = client.get("/healthz", headers=headers)
    assert "strict-transport-security" not in response.headers
    assert "203.0.113.7" not in serving.log


def test_a_proxy_that_is_named_is_believed(deployed: Deployment) -> None:
    with deployed.serve("--proxy", "127.0.0.0/8") as serving, serving.client() as client:
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        response = client.get("/healthz", headers=headers)
        assert response.headers["strict-transport-security"]
        assert serving.stop() == 0
        assert '"client": "203.0.113.7"' in serving.log


def test_a_request_that_is_under_way_when_it_is_stopped_is_answered(deployed: Deployment) -> None:
    body = json.dumps({"subject_pubkey": holder().public.x, "scope": "READ"}).encode()
    head = (
        f"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with (
        deployed.serve() as serving,
        socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE) as link,
        socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE) as idle,
    ):
        link.sendall(head + body[:10])
        with serving.client() as client:
            assert client.get("/healthz").status_code == 200  # by now the other request has begun
        serving.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""  # who asks nothing is sent away at once
        until(lambda: refused(serving.port))
        link.sendall(body[10:])
        answer = b""
        while chunk := link.recv(65_536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert serving.process.wait(PATIENCE) == 0


STUCK = """
import sys, time
from remit.cli import main
from remit.guard import Guard
from remit.service import server
server.GRACE, server._HARD_STOP = 1, 1.0
Guard.validate = lambda *_, **__: time.sleep(600)
sys.argv = ["remit", "serve", "--json", "--port", "0", "--config", sys.argv[1]]
main()
"""


def test_a_request_that_never_ends_does_not_keep_it_from_stopping(deployed: Deployment) -> None:
    with surroundings(deployed.environment):
        command = [sys.executable, "-c", STUCK, str(deployed.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = httpx.URL(json.loads(process.stdout.readline())["url"])
        with socket.create_connection((url.host, url.port or 0), timeout=PATIENCE) as link:
            head = "POST /v1/tokens/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            link.sendall(f'{head}Content-Length: 13\r\n\r\n{{"token":"a"}}'.encode())
            assert httpx.get(url.join("/healthz"), trust_env=False, timeout=PATIENCE).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 1
    finally:
        process.kill()
        process.communicate()


def refused(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def workers_of(pid: int) -> set[int]:
    """The workers among the children of a process, beside which there is a tracker of semaphores."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in commandline(int(child))}


def commandline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def test_two_workers_serve_at_one_port_and_one_that_dies_is_replaced(
    deployed: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with deployed.serve("--workers", "2") as serving:
        with serving.client() as client:
            for _ in range(6):
                assert issue(client).status_code == 200
            assert "\nremit_tokens_issued_total 6.0\n" in client.get("/metrics").text  # of both
        one, other = workers_of(serving.pid)
        os.kill(one, signal.SIGKILL)
        until(lambda: len(workers_of(serving.pid) - {one}) == 2)
        with serving.client() as client:
            assert issue(client).status_code == 200
        workers = workers_of(serving.pid)
        assert other in workers
        assert serving.stop(signal.SIGHUP) == 0
        assert not any(commandline(pid) for pid in workers)
    assert list(tmp_path.iterdir()) == []  # where they kept their numbers


def test_a_worker_that_cannot_start_again_is_tried_until_it_can(deployed: Deployment) -> None:
    key = deployed.folder / "issuer.key"
    with deployed.serve("--workers", "2") as serving:
        one, other = workers_of(serving.pid)
        key.rename(f"{key}.away")
        try:
            os.kill(one, signal.SIGKILL)
            until(lambda: serving.log.count("a worker cannot start") >= 2)
            assert serving.process.poll() is None
            assert other in workers_of(serving.pid)
            with serving.client() as client:
                assert client.get("/healthz").status_code == 200
        finally:
            Path(f"{key}.away").rename(key)
        os.kill(other, signal.SIGKILL)
        until(lambda: len(workers_of(serving.pid) - {one, other}) == 2)
        with serving.client() as client:
            assert issue(client).status_code == 200
        assert serving.stop() == 0


def test_a_worker_that_cannot_start_at_first_ends_it_with_a_clear_line(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "unlucky")
    code = (
        "import os, sys; from remit.service import server, workers; from remit.errors import ConfigError\n"
        "def refuse(path): raise ConfigError('there is no ledger')\n"
        "if __name__ != '__main__': workers.open_instance = refuse\n"
        "else: sys.exit(server.serve(server.Settings(config=sys.argv[1], port=0, workers=2), ready=print))"
    )
    (tmp_path / "unlucky.py").write_text(code)
    with surroundings(deployment.environment):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "unlucky.py"), str(deployment.path)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert {json.loads(line)["message"] for line in done.stderr.splitlines()} == {
        "a worker cannot start: there is no ledger"
    }


def test_a_terminal_that_is_closed_stops_it_as_it_should(deployed: Deployment) -> None:
    with deployed.serve() as serving:
        assert serving.stop(signal.SIGHUP) == 0


def test_who_is_told_to_outlive_its_terminal_does(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deployed.serve() as serving, serving.client() as client:
            serving.process.send_signal(signal.SIGHUP)
            assert client.get("/healthz").status_code == 200
            assert serving.stop() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nobody_waits_for_whoever_reads_the_log(deployed: Deployment) -> None:
    """A pipe holds 64 KiB; then a write of the log waits until somebody reads."""
    command = [str(PROGRAM), "serve", "--config", str(deployed.path), "--port", "0", "--json"]
    with surroundings(deployed.environment):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            for _ in range(400):
                assert client.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_workers_do_not_outlive_the_process_that_started_them(deployed: Deployment) -> None:
    with deployed.serve("--workers", "2") as serving:
        workers = workers_of(serving.pid)
        assert len(workers) == 2
        serving.stop(signal.SIGKILL)
        until(lambda: not any(commandline(pid) for pid in workers))
        until(lambda: refused(serving.port))


# ── what it does not start with ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('key = "issuer.key"', "[issuer] names no key"),
        ('admin_token = "env://REMIT_ADMIN_TOKEN"', "the service needs admin_token"),
    ],
)
def test_a_policy_file_that_lacks_something_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    deployment = Deployment.make(tmp_path / "lacking")
    deployment.path.write_text(deployment.path.read_text().replace(f"{line}\n", ""))
    with surroundings(deployment.environment):
        error = failure(capsys, "--config", str(deployment.path), "--port", "0")
    assert said in error
    assert error.count("\n") == 1


def test_an_issuer_that_is_no_url_needs_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = Deployment.make(tmp_path / "urn", uri="urn:example:issuer")
    with surroundings(deployment.environment):
        error = failure(capsys, "--config", str(deployment.path), "--port", "0")
    assert "the service needs url" in error
    assert error.count("\n") == 1


def test_an_admin_token_that_cannot_be_had_is_one_clear_line(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REMIT_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("PRICING_CLIENT_SECRET", "x" * 32)
    assert failure(capsys, "--config", str(deployed.path), "--port", "0").count("\n") == 1


def test_a_short_admin_token_is_refused_and_not_shown(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    with surroundings({**deployed.environment, "REMIT_ADMIN_TOKEN": "hunter2"}):
        error = failure(capsys, "--config", str(deployed.path), "--port", "0")
    assert "too short" in error
    assert "hunter2" not in error


def test_a_port_that_is_taken_is_one_clear_line(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, surroundings(deployed.environment):
        port = taken.getsockname()[1]
        error = failure(capsys, "--config", str(deployed.path), "--port", str(port))
    assert f"cannot listen at '127.0.0.1', port {port}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "no-such-host.invalid", ""])  # noqa: S104 - it is refused
def test_plain_http_stays_on_this_machine(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    with surroundings(deployed.environment):
        error = failure(capsys, "--config", str(deployed.path), "--port", "0", "--host", host)
    assert "not this machine's own" in error or "there is no address" in error


@pytest.mark.parametrize(
    "more", [{"behind_proxy": True}, {"proxies": ("10.0.0.0/8",)}, {"tls": Tls(Path(), Path())}]
)
def test_behind_a_proxy_or_with_tls_it_may_leave_it(more: dict[str, Any]) -> None:
    with listen(Settings(host="0.0.0.0", port=0, **more)) as listener:  # noqa: S104 - on purpose
        assert listener.getsockname()[0] == "0.0.0.0"  # noqa: S104 - as above


@pytest.mark.parametrize(
    "options",
    [
        ("--proxy", "*"),
        ("--proxy", "proxy.example"),
        ("--proxy", "10.0.0.1/8"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--workers", "0"),
        ("--workers", "65"),
        ("--tls-cert", "cert.pem"),
        ("--tls-key", "key.pem"),
    ],
)
def test_options_that_make_no_sense_are_a_mistake_in_usage(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    failure(capsys, "--config", str(deployed.path), *options, status=2)


def test_without_its_packages_the_extra_is_named() -> None:
    for missing in ("fastapi", "uvicorn"):
        code = f"import sys; sys.modules['{missing}'] = None; sys.argv = ['remit', 'serve']; from remit.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1, missing
        assert (
            done.stderr == "remit: remit serve needs the service's packages: pip install 'remit[service]'\n"
        )


def test_the_rest_of_the_command_line_loads_none_of_them() -> None:
    code = (
        "import sys, remit, remit.cli.app;"
        "print([name for name in ('fastapi', 'uvicorn', 'starlette', 'prometheus_client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_new_admin_token_comes_with_its_hash(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[dict[str, Any]] = []
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            _COMMAND.main(args=["serve", "--new-admin-token", "--json"], prog_name="remit")
        assert caught.value.code == 0
        made.append(json.loads(capsys.readouterr().out))
    one, other = made
    assert one["admin_token"] != other["admin_token"]
    assert len(one["admin_token"]) == 43
    assert one["hash"] == "sha256:" + hashlib.sha256(one["admin_token"].encode()).hexdigest()
    deployment = Deployment(deployed.folder, {**deployed.environment, "REMIT_ADMIN_TOKEN": one["hash"]})
    with deployment.client() as client:
        headers = {"Authorization": f"Bearer {one['admin_token']}"}
        assert client.get("/v1/tokens", headers=headers).status_code == 200


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1, and its key in clear and encrypted."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    for file, encryption in (
        ("key.pem", serialization.NoEncryption()),
        ("locked.pem", serialization.BestAvailableEncryption(b"a passphrase")),
    ):
        (folder / file).write_bytes(key.private_bytes(pem, pkcs8, encryption))
    return folder


def test_over_tls_and_nothing_older(deployed: Deployment, certificate: Path) -> None:
    files = ("--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem"))
    with deployed.serve(*files) as serving:
        assert serving.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        with serving.client(verify=context) as client:
            response = issue(client)
            assert response.status_code == 200
            assert response.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.TransportError):
            httpx.get(serving.url.replace("https", "http"), trust_env=False, timeout=PATIENCE)
        assert serving.stop() == 0


@pytest.mark.parametrize(
    ("cert", "key"),
    [
        ("cert.pem", "locked.pem"),  # it would be asked for at the terminal
        ("cert.pem", "cert.pem"),
        ("key.pem", "key.pem"),
        ("cert.pem", "nowhere.pem"),
        ("nowhere.pem", "key.pem"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_clear_line(
    deployed: Deployment, certificate: Path, capsys: pytest.CaptureFixture[str], cert: str, key: str
) -> None:
    files = ("--tls-cert", str(certificate / cert), "--tls-key", str(certificate / key))
    with surroundings(deployed.environment):
        error = failure(capsys, "--config", str(deployed.path), "--port", "0", *files)
    assert "cannot be used" in error
    assert error.count("\n") == 1

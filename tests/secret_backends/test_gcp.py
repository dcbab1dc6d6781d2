"""R10: the Google backend, through the real client over REST, to a server of the tests' own."""

from __future__ import annotations

import base64
import json
import logging
import socket
from importlib import import_module
from typing import Any

import pytest

import remit
from remit.secrets.backends.gcp import Gcp

from .conftest import free_port
from .support import PATIENT, Web, check_guarded, why

CANARY = "canary-c0ffee1"


def _nobody() -> Any:
    module: Any = import_module("google.auth.credentials")  # it has no types
    return module.AnonymousCredentials()


def _client(url: str) -> Any:
    from google.cloud import secretmanager

    return secretmanager.SecretManagerServiceClient(
        transport="rest", credentials=_nobody(), client_options={"api_endpoint": url}
    )


def _path(secret: str, version: str = "latest", project: str = "my-project") -> str:
    return f"/v1/projects/{project}/secrets/{secret}/versions/{version}:access"


def _payload(data: bytes) -> tuple[int, dict[str, Any]]:
    return 200, {"name": "n", "payload": {"data": base64.b64encode(data).decode()}}


def _error(status: int, word: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": status, "message": CANARY, "status": word}}


@pytest.fixture
def google(web: Web) -> Web:
    fields = json.dumps({"password": CANARY, "port": 5432}).encode()
    web.answers = {
        _path("db"): _payload(CANARY.encode()),
        _path("db", "3"): _payload(b"older"),
        _path("db", project="acme.example:proj"): _payload(b"theirs"),
        _path("fields"): _payload(fields),
        _path("bytes"): _payload(b"\xff\x00"),
        _path("empty"): (200, {"name": "n"}),
        _path("denied"): _error(403, "PERMISSION_DENIED"),
        _path("stranger"): _error(401, "UNAUTHENTICATED"),
        _path("disabled"): _error(400, "FAILED_PRECONDITION"),
        _path("broken"): _error(503, "UNAVAILABLE"),
        _path("none"): _error(404, "NOT_FOUND"),
    }
    return web


def _secrets(web: Web, *references: str, **options: Any) -> remit.Secrets:
    names = ["KEY", *(f"KEY{number}" for number in range(1, len(references)))]
    backends = {"gcp": Gcp(lambda: _client(web.url))}
    return remit.Secrets(
        dict(zip(names, references, strict=True)), backends=backends, **{**PATIENT, **options}
    )


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("gcp://my-project/db", CANARY),
        ("gcp://my-project/db/latest", CANARY),
        ("gcp://my-project/db/3", "older"),
        ("gcp://acme.example:proj/db", "theirs"),
        ("gcp://my-project/fields#password", CANARY),
        ("gcp://my-project/bytes", "/wA="),
    ],
)
def test_a_secret_is_read_as_text(google: Web, reference: str, value: str) -> None:
    assert _secrets(google, reference).fetch("KEY") == value


@pytest.mark.parametrize("reference", ["none", "db/7", "fields#user", "empty"])
def test_what_is_not_there_is_not_found(google: Web, reference: str) -> None:
    assert why(_secrets(google, f"gcp://my-project/{reference}"))[0] == "secret_not_found"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("denied", "access is denied"),
        ("stranger", "or they are refused"),
        ("disabled", "disabled or destroyed"),
        ("broken", "Google answered with an error"),
        ("fields#port", "the field is not text"),
        ("db#password", "not a JSON object"),
    ],
)
def test_a_failure_is_said_without_what_google_said(google: Web, reference: str, said: str) -> None:
    code, reason = why(_secrets(google, f"gcp://my-project/{reference}"))
    assert (code, said in reason) == ("secret_backend_error", True)
    assert "canary" not in reason


def test_a_failure_is_not_tried_again_and_again(google: Web) -> None:
    why(_secrets(google, "gcp://my-project/broken"))
    assert len(google.asked) == 1


def test_one_client_is_made_and_used_again(google: Web) -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(_client(google.url))
        return made[-1]

    secrets = remit.Secrets({"KEY": "gcp://my-project/db"}, backends={"gcp": Gcp(make)}, ttl=None, **PATIENT)
    assert [secrets.fetch("KEY") for _ in range(3)] == [CANARY] * 3
    assert len(made) == 1


def test_a_server_that_is_not_there_or_never_answers_is_not_waited_for() -> None:
    nobody, deaf = Web(), Web()
    nobody.url = f"http://127.0.0.1:{free_port()}"
    assert "cannot be reached" in why(_secrets(nobody, "gcp://my-project/db"))[1]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        deaf.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert "did not answer in time" in why(_secrets(deaf, "gcp://my-project/db", timeout="1s"))[1]


def test_the_client_it_makes_itself_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # no metadata server is looked for
    code, reason = why(remit.Secrets({"KEY": "gcp://my-project/db"}))
    assert (code, "no Google credentials" in reason) == ("secret_backend_error", True)


def test_the_client_it_makes_itself_speaks_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    import google.auth
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceRestTransport as Rest,
    )

    from remit.secrets.backends import gcp

    monkeypatch.setattr(google.auth, "default", lambda *_, **__: (_nobody(), "my-project"))
    assert isinstance(gcp._client().transport, Rest)


def test_all_of_it_is_recorded_and_none_of_it_told(
    google: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {
        "GOOD": "gcp://my-project/db",
        "MISSING": "gcp://my-project/none",
        "FAILING": "gcp://my-project/denied",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    secrets = remit.Secrets(
        references, backends={"gcp": Gcp(lambda: _client(google.url))}, ttl=None, **PATIENT
    )
    logger = logging.getLogger("google")  # it passes nothing on to the root unless it is told to
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.DEBUG, "google")
    check_guarded(secrets, expected, caplog)
    encoded = base64.b64encode(CANARY.encode()).decode()
    assert encoded not in caplog.text
    assert encoded not in json.dumps([vars(record) for record in caplog.records], default=repr)

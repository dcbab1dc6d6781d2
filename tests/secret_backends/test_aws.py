"""R10: the AWS backend, against a server that answers as AWS Secrets Manager does (moto)."""

from __future__ import annotations

import base64
import json
import logging
import socket
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

import remit
from remit.secrets.backends.aws import Aws

from .conftest import Moto, free_port
from .support import PATIENT, check_guarded, why

pytestmark = pytest.mark.servers

CANARY = "canary-4be19f"


@pytest.fixture
def stocked(moto: Moto) -> Moto:
    client = moto.client()
    fields = {"password": CANARY, "port": 5432, "nested": {"a": "b"}, "empty": "", "none": None}
    client.create_secret(Name="prod/db", SecretString=json.dumps(fields))
    client.create_secret(Name="plain", SecretString=CANARY)
    client.create_secret(Name="/slashed", SecretString=CANARY)
    client.create_secret(Name="text-in-bytes", SecretBinary=CANARY.encode())
    client.create_secret(Name="json-in-bytes", SecretBinary=json.dumps(fields).encode())
    client.create_secret(Name="bytes", SecretBinary=b"\xff\x00\xfe")
    client.create_secret(Name="twice", SecretString=f'{{"password": "a", "password": "{CANARY}"}}')
    client.close()
    return moto


def _secrets(reference: str, **options: Any) -> remit.Secrets:
    return remit.Secrets({"KEY": reference}, **{**PATIENT, **options})


def _fetch(reference: str) -> str:
    return _secrets(reference).fetch("KEY")


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("aws://plain", CANARY),
        ("aws:///slashed", CANARY),
        ("aws://prod/db#password", CANARY),
        ("aws://plain?region=eu-west-1", CANARY),
        ("aws://plain?stage=AWSCURRENT", CANARY),
        ("aws://text-in-bytes", CANARY),
        ("aws://json-in-bytes#password", CANARY),
        ("aws://bytes", base64.b64encode(b"\xff\x00\xfe").decode()),
    ],
)
def test_a_secret_is_read_as_text(stocked: Moto, reference: str, value: str) -> None:
    assert _fetch(reference) == value


def test_a_secret_may_be_named_by_its_whole_arn(stocked: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stocked.client()
    arn = client.describe_secret(SecretId="prod/db")["ARN"]
    client.close()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # the ARN says which region it is
    assert _fetch(f"aws://{arn}#password") == CANARY
    assert _fetch(f"aws://{arn}?region=eu-west-1#password") == CANARY


def test_an_older_version_is_read_by_its_stage_or_its_id(stocked: Moto) -> None:
    client = stocked.client()
    before = client.describe_secret(SecretId="plain")["VersionIdsToStages"]
    client.put_secret_value(SecretId="plain", SecretString="newer")
    client.close()
    assert _fetch("aws://plain") == "newer"
    assert _fetch("aws://plain?stage=AWSPREVIOUS") == CANARY
    assert _fetch(f"aws://plain?version={next(iter(before))}") == CANARY


@pytest.mark.parametrize(
    "reference",
    ["aws://none", "aws://plai", "aws://prod/db#passwor", "aws://prod/db#none", "aws://prod/db#empty",
     "aws://plain?region=us-west-2", "aws://plain?stage=NONE", "aws://plain?version=" + "0" * 32],
)  # fmt: skip
def test_what_is_not_there_is_not_found(stocked: Moto, reference: str) -> None:
    assert why(_secrets(reference))[0] == "secret_not_found"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("aws://prod/db#port", "the field is not text"),
        ("aws://prod/db#nested", "the field is not text"),
        ("aws://plain#password", "not a JSON object"),
        ("aws://twice#password", "not a JSON object"),
        ("aws://bytes#password", "not a JSON object"),
    ],
)
def test_a_field_is_text_in_one_json_object(stocked: Moto, reference: str, said: str) -> None:
    code, reason = why(_secrets(reference))
    assert code == "secret_backend_error"
    assert said in reason
    assert "canary" not in reason


def test_a_secret_that_is_being_deleted_is_not_given(stocked: Moto) -> None:
    client = stocked.client()
    client.delete_secret(SecretId="plain")
    client.close()
    code, reason = why(_secrets("aws://plain"))
    assert (code, "being deleted" in reason) == ("secret_backend_error", True)


def test_without_a_region_or_credentials_it_says_so(stocked: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "no region is set" in why(_secrets("aws://plain"))[1]
    assert _fetch("aws://plain?region=eu-west-1") == CANARY
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "AWS credentials" in why(_secrets("aws://plain?region=eu-west-1"))[1]
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert "no AWS credentials" in why(_secrets("aws://plain?region=eu-west-1"))[1]


def test_a_server_that_is_stopped_is_said_to_be_out_of_reach(own_moto: Moto) -> None:
    client = own_moto.client()
    client.create_secret(Name="own", SecretString=CANARY)
    client.close()
    secrets = _secrets("aws://own", ttl=None)
    assert secrets.fetch("KEY") == CANARY
    own_moto.server.stop()
    code, reason = why(secrets)
    assert (code, reason.endswith("AWS cannot be reached.")) == ("secret_backend_error", True)


def test_a_server_that_never_answers_is_not_waited_for(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        assert "did not answer in time" in why(_secrets("aws://plain", timeout="1s"))[1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "access is denied"),
        ("ExpiredTokenException", "have expired"),
        ("DecryptionFailure", "cannot be used"),
        ("Canary", "AWS answered with an error"),
    ],
)
def test_what_aws_says_is_not_repeated(stocked: Moto, code: str, said: str) -> None:
    errors: Any = import_module("botocore.exceptions")

    class Refusing:
        def get_secret_value(self, **_: Any) -> Any:
            raise errors.ClientError({"Error": {"Code": code, "Message": CANARY}}, "GetSecretValue")

    secrets = _secrets("aws://plain", backends={"aws": Aws(lambda region: Refusing())})
    reason = why(secrets)[1]
    assert said in reason
    assert "canary" not in reason.lower()


def test_one_client_a_region_is_made_and_used_again(stocked: Moto) -> None:
    made: list[str | None] = []

    def make(region: str | None) -> Any:
        made.append(region)
        return stocked.client(region or "eu-west-1")

    references = {"A": "aws://plain", "B": "aws://plain?region=eu-west-1", "C": "aws://prod/db#password"}
    secrets = remit.Secrets(references, backends={"aws": Aws(make)}, ttl=None)
    for _ in range(2):
        assert [secrets.fetch(name) for name in secrets.names] == [CANARY] * 3
    assert made == [None, "eu-west-1"]


def test_all_of_it_is_recorded_and_none_of_it_told(stocked: Moto, caplog: pytest.LogCaptureFixture) -> None:
    references = {
        "GOOD": "aws://prod/db#password",
        "MISSING": "aws://none",
        "FAILING": "aws://prod/db#port",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references, **PATIENT), expected, caplog)
    check_guarded(remit.Secrets(references, ttl=None, **PATIENT), expected, caplog)
    assert "canary-aws" not in caplog.text
    logging.getLogger("botocore.parsers").debug("others log as ever")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("botocore.parsers").debug("others log as ever")
    assert "others log as ever" in caplog.text


_FRESH = f"""
import logging
logging.basicConfig(level=logging.DEBUG)
import remit
logging.getLogger("app").debug("it is on")
print(remit.Secrets({{"KEY": "aws://prod/db#password"}}).fetch("KEY") == {CANARY!r})
"""


def test_the_first_answer_in_a_process_is_not_logged_either(stocked: Moto) -> None:
    """The loggers of a client are made while it is imported and built."""
    done = subprocess.run(
        [sys.executable, "-c", _FRESH], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True\n"
    assert "it is on" in done.stderr
    assert "canary" not in done.stderr


def test_a_port_with_nobody_behind_it_is_said_to_be_out_of_reach(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in why(_secrets("aws://plain"))[1]

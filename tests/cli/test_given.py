"""Where a token or a credential comes from: an argument, a file, standard input, the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import remit

from .support import Deployment, run


@pytest.fixture
def credential(deployment: Deployment) -> remit.Credential:
    return deployment.issued()


FORMS: dict[str, Callable[[remit.Credential], str]] = {
    "a credential": lambda credential: credential.to_json(),
    "a bare token": lambda credential: credential.token,
    "a token and a line feed": lambda credential: f"{credential.token}\n",
    "a chain": lambda credential: json.dumps(list(credential.chain)),
    "what issue --json prints": lambda credential: json.dumps(
        {"credential": json.loads(credential.to_json())}
    ),
    "a token in an object": lambda credential: json.dumps({"token": credential.token, "token_id": "x"}),
    "a presentation": lambda credential: json.dumps(credential.present("prices:read", {}).to_dict()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_from_everywhere(
    form: str, deployment: Deployment, credential: remit.Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FORMS[form](credential)
    path = deployment.folder / "given"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    found = [deployment.json("check", "given"), deployment.json("check", "-", stdin=text)]
    monkeypatch.setenv("REMIT_CREDENTIAL", text)
    found.append(deployment.json("check"))
    assert [document["token_id"] for document in found] == [credential.token_id] * 3


@pytest.mark.parametrize("form", ["a bare token", "a chain", "a token in an object"])
def test_what_holds_no_private_key_may_be_an_argument(
    form: str, deployment: Deployment, credential: remit.Credential
) -> None:
    assert deployment.json("check", FORMS[form](credential))["token_id"] == credential.token_id


@pytest.mark.parametrize("form", ["a credential", "what issue --json prints"])
@pytest.mark.parametrize(
    "command", ["check", "inspect", "delegate --agent w --capability prices:read", "revoke --token"]
)
def test_a_private_key_on_the_command_line_is_refused_and_not_repeated(
    form: str, command: str, deployment: Deployment, credential: remit.Credential
) -> None:
    result = deployment.run(*command.split(), FORMS[form](credential), status=2)
    assert "private key does not belong on the command line" in " ".join(result.stderr.split())
    assert json.loads(credential.to_json())["holder_key"]["d"] not in result.output


def test_without_anything_it_is_a_usage_error(deployment: Deployment) -> None:
    for command in (["check"], ["inspect"], ["explain", "--capability", "x"], ["check", ""], ["check", " "]):
        result = deployment.run(*command, status=2)
        assert "REMIT_CREDENTIAL" in result.stderr


def test_an_argument_goes_before_the_environment(
    deployment: Deployment, credential: remit.Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = deployment.issued("reader")
    monkeypatch.setenv("REMIT_CREDENTIAL", other.to_json())
    assert deployment.json("inspect", "pricing-agent.json")["links"][0]["token_id"] == credential.token_id


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o666, 0o400, 0o600])
def test_a_file_with_a_private_key_must_be_closed_to_others(
    mode: int, deployment: Deployment, credential: remit.Credential
) -> None:
    path = deployment.folder / "pricing-agent.json"
    path.chmod(mode)
    is_open = mode & 0o027
    result = deployment.run("inspect", str(path), status=1 if is_open else 0)
    assert ("too open" in result.stderr) is bool(is_open)
    assert credential.token_id in result.output or is_open


def test_a_file_with_a_bare_token_may_be_read_by_others(
    deployment: Deployment, credential: remit.Credential
) -> None:
    path = deployment.folder / "token"
    path.write_text(credential.token, encoding="ascii")
    path.chmod(0o644)
    assert credential.token_id in deployment.run("inspect", "token").stdout


@pytest.mark.parametrize(
    "text",
    ["", " \n", "no token", "a.b.c", "{}", "[]", "{", "[1]", '{"chain":[]}', '{"chain":"x"}', '{"chain":[1]}',
     '{"chain":["a.b.c"],"holder_key":"x"}', '{"token":1}', '{"chain":["a"],"chain":["b"]}', "\x00", "eyJ", "eyJhbGciOiJub25lIn0..",
     "[" * 5000, "x" * 600_000],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_junk_is_an_error_of_one_line(text: str, deployment: Deployment) -> None:
    (deployment.folder / "junk").write_text(text, encoding="utf-8")
    for arguments, stdin in (
        (["inspect", "junk"], None),
        (["check", "-"], text),
        (["delegate", "junk", "--agent", "a", "--capability", "c"], None),
    ):
        result = deployment.run(*arguments, "--json", status=1, stdin=stdin)
        document = json.loads(result.stdout)
        assert document["code"] in {"key_file_error", "token_malformed"}
        assert result.stderr.startswith("remit: ")
        assert result.stderr.count("\n") == 1
        assert len(result.stderr) < 400


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x80" * 100, b"\xef\xbb\xbf{}"])
def test_what_is_not_text_is_an_error(data: bytes, deployment: Deployment) -> None:
    (deployment.folder / "junk").write_bytes(data)
    for arguments, stdin in ((["inspect", "junk"], None), (["inspect", "-"], data)):
        assert deployment.run(*arguments, status=1, stdin=stdin).stderr.startswith("remit: ")


def test_what_is_no_file_does_not_hang(deployment: Deployment) -> None:
    os.mkfifo(deployment.folder / "pipe")
    for name in ("pipe", ".", "/dev/zero", "nosuch", "pipe/x", "anchors", "x/" * 300):
        result = deployment.run("inspect", name, status=1)
        assert "cannot be read" in result.stderr or "not a regular file" in result.stderr or len(name) > 32


def test_a_key_that_was_pasted_is_not_repeated(deployment: Deployment, credential: remit.Credential) -> None:
    key = json.loads(credential.to_json())["holder_key"]["d"]
    assert key not in deployment.run("check", key, status=1).output


def test_a_file_may_be_deep_down(deployment: Deployment, credential: remit.Credential) -> None:
    folder = Path("/".join(["long" * 20] * 5))
    folder.mkdir(parents=True)
    (folder / "token").write_text(credential.token, encoding="ascii")
    assert credential.token_id in run("inspect", str(folder / "token")).stdout


def test_a_token_that_was_cut_is_no_file_name_and_not_repeated(
    deployment: Deployment, credential: remit.Credential
) -> None:
    for cut in (credential.token[:-1], credential.token[:120], credential.token.split(".")[0]):
        result = deployment.run("check", cut, "--json", status=1)
        assert json.loads(result.stdout)["code"] in {"token_malformed", "token_signature_invalid"}
        assert cut not in result.output
        assert cut[:40] not in result.output


def test_a_holder_key_of_another_token_is_refused(
    deployment: Deployment, credential: remit.Credential
) -> None:
    other = json.loads(deployment.issued("reader").to_json())
    mixed = json.dumps({"chain": list(credential.chain), "holder_key": other["holder_key"]})
    result = deployment.run(
        "delegate", "-", "--agent", "w", "--capability", "prices:read", stdin=mixed, status=1
    )
    assert "not the private key that the token names" in result.stderr


def test_a_relative_path_and_a_path_that_looks_like_an_option(
    deployment: Deployment, credential: remit.Credential
) -> None:
    Path("-dashed").write_text(credential.token, encoding="ascii")
    assert credential.token_id in run("inspect", "./-dashed").stdout
    assert credential.token_id in run("inspect", "--", "-dashed").stdout

"""What goes wrong: one line for people, one object for programs, a status, and never what was pasted by mistake."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import typer

import remit
from remit.cli import app as assembled
from remit.cli import check as module
from remit.cli.command import command
from remit.cli.deployment import asked
from remit.cli.output import printable, redacted

from .support import Deployment, run

EVERY = [
    ["issue", "pricing-agent"], ["check"], ["explain", "--capability", "c"], ["revoke", "t"], ["revocations"],
    ["revocations", "--purge"], ["tokens"], ["keys"], ["keys", "rotate"], ["keys", "retire", "k"], ["secrets"],
    ["secrets", "check"], ["audit", "tail"], ["audit", "verify"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
@pytest.mark.parametrize(
    "content", [None, "[", '[agents.x]\ncapabilitys = ["a"]\n', "\x00", "x" * 300_000], ids=ascii
)
def test_a_policy_file_that_cannot_be_used_is_told_everywhere_alike(
    arguments: list[str], content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_CREDENTIAL", "eyJ.x.y")
    if content is not None:
        Path("remit.toml").write_text(content, encoding="utf-8")
    result = run(*arguments, "--json", status=1)
    document = json.loads(result.stdout)
    assert set(document) == {"code", "reason"}
    assert document["code"] == "config_error"
    assert document["reason"].startswith("remit.toml")
    assert result.stderr.startswith("remit: remit.toml")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_the_policy_file_is_the_one_that_is_named(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_CREDENTIAL", "eyJ.x.y")
    monkeypatch.setenv("REMIT_CONFIG", "from-environment.toml")
    assert "from-environment.toml" in run(*arguments, status=1).stderr
    assert "from-option.toml" in run(*arguments, "--config", "from-option.toml", status=1).stderr
    monkeypatch.setenv("REMIT_CONFIG", " ")
    assert "REMIT_CONFIG is blank" in run(*arguments, status=1).stderr


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [["nosuch"], ["--nosuch"], ["check", "--nosuch"], ["issue"], ["keys", "nosuch"], ["audit", "nosuch"],
         ["revocations", "x"], ["explain"], ["check", "a", "b"], ["init"]],
        ids=" ".join,
    )  # fmt: skip
    def test_a_usage_error_is_status_two_and_nothing_on_standard_output(self, arguments: list[str]) -> None:
        result = run(*arguments, status=2)
        assert result.stdout == ""
        assert result.stderr

    def test_a_token_that_was_pasted_in_the_wrong_place_is_not_repeated(self, deployment: Deployment) -> None:
        credential = deployment.issued()
        members = json.loads(credential.to_json())
        for pasted in (
            credential.token,
            credential.to_json(),
            members["holder_key"]["d"],
            "sk-live-" + "a1" * 20,
        ):
            for arguments in (
                [pasted], ["check", "x", pasted], ["issue", "pricing-agent", pasted], ["revocations", pasted], ["keys", pasted],
                ["keys", "rotate", pasted], ["tokens", "--limit", pasted], ["issue", "pricing-agent", "--max-depth", pasted],
                ["audit", "tail", "-n", pasted], [f"--{pasted}"], ["check", f"--{pasted}"],
            ):  # fmt: skip
                result = deployment.run(*arguments, status=2)
                assert pasted[:40] not in "".join(result.output.split())
                assert members["holder_key"]["d"][:20] not in "".join(result.output.split())

    def test_a_token_that_was_pasted_as_a_name_is_not_repeated(self, deployment: Deployment) -> None:
        credential = deployment.issued()
        for pasted in (credential.token, credential.to_json()):
            for arguments in (
                ["issue", pasted], ["issue", "pricing-agent", "--capability", pasted], ["issue", "pricing-agent", "--ttl", pasted],
                ["issue", "pricing-agent", "--holder", pasted], ["issue", "pricing-agent", "--grant", pasted], ["revoke", pasted],
                ["secrets", "check", pasted], ["keys", "retire", pasted], ["audit", "verify", pasted], ["check", "--config", pasted],
                ["init", "--issuer", pasted], ["init", "--issuer", "x:y", "--passphrase-env", pasted], ["doctor", "--config", pasted],
                ["explain", "pricing-agent.json", "--capability", pasted], ["delegate", "pricing-agent.json", "--agent", "w", "--capability", pasted],
            ):  # fmt: skip
                for extra in ([], ["--json"]):
                    result = deployment.run(*arguments, *extra, status=None)
                    assert result.exit_code in {1, 2}, arguments
                    assert "eyJhbGciOi" not in "".join(result.output.split()), arguments


class TestUnexpected:
    def failing(self, error: BaseException) -> Any:
        def fail(*, as_json: bool = False) -> None:
            secret_value = "k-canary-3141592653"
            raise error if secret_value else AssertionError

        app = typer.Typer(pretty_exceptions_enable=False)
        app.command("fail")(command(fail))
        app.command("other")(lambda: None)
        return app

    def invoke(self, error: BaseException, *arguments: str) -> Any:
        from typer.testing import CliRunner

        return CliRunner().invoke(self.failing(error), ["fail", *arguments])

    def test_a_bug_is_one_line_without_what_it_says(self) -> None:
        result = self.invoke(ValueError("eyJhbGciOiJFZDI1NTE5In0.x.y k-canary-3141592653"), "--as-json")
        document = json.loads(result.stdout)
        assert document["code"] == "internal_error"
        assert "ValueError in " in document["reason"]
        assert "canary" not in result.output
        assert result.stderr.count("\n") == 1
        assert result.exit_code == 1

    def test_what_the_system_says_is_told(self) -> None:
        result = self.invoke(OSError(28, "No space left on device", "some\x1bfile"))
        assert result.stderr == "remit: 'some\\x1bfile': No space left on device\n"
        assert self.invoke(OSError("odd")).stderr == "remit: OSError\n"

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (remit.ConfigError("no sense"), "config_error"),
            (remit.KeyFileError("no key"), "key_file_error"),
            (remit.AttenuationError("wider", capability="c"), "attenuation_error"),
            (remit.RemitError("any"), "error"),
            (remit.LimitExceeded("limit_exceeded", "Spent.", link=1), "limit_exceeded"),
        ],
    )
    def test_every_error_of_remit_has_a_code(self, error: remit.RemitError, code: str) -> None:
        result = self.invoke(error, "--as-json")
        document = json.loads(result.stdout)
        assert (document["code"], result.exit_code) == (code, 1)
        assert result.stderr == f"remit: {error}\n"
        assert document.get("capability", "c") == "c"

    def test_an_interrupt_is_status_130(self) -> None:
        assert self.invoke(KeyboardInterrupt()).exit_code == 130

    def test_no_control_character_of_a_message_reaches_the_terminal(self) -> None:
        result = self.invoke(remit.ConfigError("a\x1b[2J\u202e\x9bb\nc"))
        assert result.stderr == "remit: a\\x1b[2J\\u202e\\x9bb\nc\n"

    def test_what_remit_logs_is_a_line_without_a_traceback(self) -> None:
        def log(*, as_json: bool = False) -> None:
            try:
                int("k-canary")
            except ValueError:
                logging.getLogger("remit").exception("remit: a %s record could not be written", "revoke")

        from typer.testing import CliRunner

        app = typer.Typer()
        app.command()(command(log))
        result = CliRunner().invoke(app, [])
        assert result.stderr == "remit: a revoke record could not be written\n"
        assert not any(type(handler).__name__ == "_Notes" for handler in logging.getLogger("remit").handlers)


def test_a_ledger_that_fails_in_any_way_does_not_answer() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    def refuse() -> None:
        raise remit.ConfigError("closed")

    with pytest.raises(remit.TokenRejected) as caught:
        asked(fail)
    assert caught.value.code == "ledger_unavailable"
    with pytest.raises(remit.ConfigError):
        asked(refuse)


def test_every_command_reports_its_errors() -> None:
    """Whoever adds a command gets this for nothing: the table is what is wrapped."""
    functions = [*assembled._COMMANDS.values()]
    for _, own, inner in assembled._GROUPS.values():
        functions += [*([own] if own else []), *inner.values()]
    assert module.check in functions
    wrapped: set[Any] = set()
    for typed in (assembled.app, *[group.typer_instance for group in assembled.app.registered_groups]):
        assert typed is not None
        callbacks: list[Any] = [info.callback for info in typed.registered_commands]
        if typed is not assembled.app and typed.registered_callback is not None:
            callbacks.append(typed.registered_callback.callback)
        wrapped.update(getattr(callback, "__wrapped__", None) for callback in callbacks)
    assert wrapped == set(functions)


@pytest.mark.parametrize(
    "text",
    [
        "x eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJ4In0.abc_-9 y",
        "eyJhbGciOiJFZDI1NTE5In0",
        '{"d": "AAAAsecretAAAA", "x": "y"}',
        "{'d': 'AAAAsecretAAAA'}",
        '{\\"d\\":\\"AAAAsecretAAAA\\"}',
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIsecret\n-----END PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\\nsecret",
    ],
)
def test_what_looks_like_a_token_or_a_key_is_not_shown(text: str) -> None:
    shown = redacted(f"before {text} after")
    assert "[not shown]" in shown
    assert shown.startswith("before ")
    assert "secret" not in shown
    assert "eyJ" not in shown


@pytest.mark.parametrize(
    "text",
    ["eyJ", "token 01a2012b-4954-704c", "key HlDqv4IbCy4H747c2wfvh2-c6fOKyfe95Pr6qtMVcK4", '"id": "x"'],
)
def test_what_does_not_is_shown(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("text", ["", "plain", "\x1b[2J", "é", "\u202e", "x" * 500, "\n", "\ud800"])
def test_printable_text_is_ascii_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 1000
    assert (shown == text) is (text in {"", "plain"})

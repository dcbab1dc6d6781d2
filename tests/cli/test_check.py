"""`remit check` and `remit explain`: what would be decided, and why."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.cli.check import read_arguments

from .support import Deployment, forged


@pytest.fixture
def token(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> str:
    credential = deployment.issued()
    monkeypatch.setenv("REMIT_CREDENTIAL", credential.token)
    return credential.token


CALL = ("--capability", "trades:propose")


class TestBearer:
    def test_it_says_what_can_be_said(self, deployment: Deployment, token: str) -> None:
        document = deployment.json("check", token)
        credential = remit.Credential.from_token(token)
        assert document == {
            "allowed": True,
            "agent": "pricing-agent",
            "token_id": credential.token_id,
            "chain": [credential.token_id],
            "issuer": "https://auth.acme.example",
            "holder": document["holder"],
            "expires_at": int(credential.expires_at.timestamp()),
            "capabilities": [capability.name for capability in credential.capabilities],
            "secrets": list(credential.secrets),
            "session": None,
            "task": None,
        }

    def test_a_required_capability_is_enforced(self, deployment: Deployment, token: str) -> None:
        assert deployment.json("check", *CALL)["allowed"] is True
        document = deployment.json("check", "--capability", "trades:cancel", status=1)
        assert (document["allowed"], document["code"]) == (False, "capability_missing")

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            (["--agent", "other"], "agent_mismatch"),
            (["--agent", ""], "agent_mismatch"),
            (["--session", "s-2"], "session_mismatch"),
            ([], "session_mismatch"),
            (["--session", " "], "session_mismatch"),
            (["--session", "s-1", "--task", ""], "task_mismatch"),
        ],
    )
    def test_the_bearer_must_fit(self, options: list[str], code: str, deployment: Deployment) -> None:
        deployment.issued("reader")
        policy = Path("remit.toml")
        policy.write_text(
            policy.read_text(encoding="utf-8") + '\n[guard]\naudience = ["desk"]\n', encoding="utf-8"
        )
        assert (
            deployment.json("check", "reader.json", "--session", "s-1", "--agent", "reader")["session"]
            == "s-1"
        )
        assert deployment.json("check", "reader.json", *options, status=1)["code"] == code

    def test_a_token_for_another_enforcement_point_is_denied(self, deployment: Deployment) -> None:
        deployment.issued("reader")
        document = deployment.json("check", "reader.json", "--session", "s-1", status=1)
        assert document["code"] == "audience_mismatch"

    def test_an_edited_token_is_denied(self, deployment: Deployment, token: str) -> None:
        result = deployment.run("check", forged(token, sub="admin"), status=1)
        assert result.stderr.startswith("remit: token_issuer_untrusted: ")
        assert result.stdout == ""

    def test_every_check_is_recorded_malformed_ones_included(
        self, deployment: Deployment, token: str
    ) -> None:
        deployment.run("check", token)
        deployment.run("check", "eyJ.junk", status=1)
        records = [one for one in deployment.json("audit", "tail") if one["event"] == "decision"]
        assert [(one["allowed"], one.get("code")) for one in records] == [
            (True, None),
            (False, "token_malformed"),
        ]


class TestCall:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["symbol=ACME", "amount=900"], None),
            (["symbol=ACME", "amount=9e2"], None),
            (['symbol="ACME"', "amount=900"], None),
            (["symbol=ACME", 'amount="900"'], "argument_denied"),
            (["symbol=ACME", "amount=1001"], "argument_denied"),
            (["symbol=ACME", "amount=0900"], "argument_denied"),
            (["symbol=ACME", "amount=NaN"], "argument_denied"),
            (["symbol=ACME", "amount=true"], "argument_denied"),
            (["symbol=ACME", "amount=900", "note=x"], "argument_denied"),
            (["symbol=ACME"], "argument_denied"),
            (["symbol=acme", "amount=900"], "argument_denied"),
            (["symbol=", "amount=900"], "argument_denied"),
        ],
    )
    def test_a_call_is_decided_on_its_arguments(
        self, arguments: list[str], code: str | None, deployment: Deployment, token: str
    ) -> None:
        options = [part for argument in arguments for part in ("--arg", argument)]
        for command in ("check", "explain"):
            document = deployment.json(command, *CALL, *options, status=0 if code is None else 1)
            assert (document["allowed"], document.get("code")) == (code is None, code)

    def test_it_charges_nothing_and_is_not_recorded(self, deployment: Deployment, token: str) -> None:
        before = deployment.json("audit", "tail")
        for command in ("check", "explain"):
            for _ in range(5):  # three uses are granted
                deployment.run(command, *CALL, "--arg", "symbol=ACME", "--arg", "amount=900")
        assert deployment.json("audit", "tail") == before

    def test_what_is_used_up_is_denied(self, deployment: Deployment) -> None:
        credential = deployment.issued()
        guard = remit.Guard.from_config("remit.toml")
        for _ in range(2):
            guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 1000})
        call = ["explain", "pricing-agent.json", *CALL, "--arg", "symbol=ACME", "--arg"]
        assert deployment.json(*call, "amount=500")["allowed"] is True
        assert deployment.json(*call, "amount=501", status=1)["code"] == "limit_exceeded"

    def test_what_may_only_be_passed_on_is_denied(self, deployment: Deployment, token: str) -> None:
        document = deployment.json(
            "check", "--capability", "payments:refund", "--arg", "order_id=O-1", status=1
        )
        assert document["code"] == "delegate_only"

    def test_arguments_need_a_capability(self, deployment: Deployment, token: str) -> None:
        assert "--capability" in deployment.run("check", "--arg", "a=1", status=2).stderr

    @pytest.mark.parametrize("pairs", [["amount"], ["=1"], [""], ["a=1", "a=2"]])
    def test_an_argument_that_is_none_is_a_usage_error(
        self, pairs: list[str], deployment: Deployment, token: str
    ) -> None:
        options = [part for pair in pairs for part in ("--arg", pair)]
        deployment.run("check", *CALL, *options, status=2)
        deployment.run("explain", *CALL, *options, status=2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("900", 900), ("-1", -1), ("0.5", 0.5), ("1e3", 1000.0), ("true", True), ("false", False), ("null", None),
        ('"900"', "900"), ("[1,2]", [1, 2]), ('{"a":1}', {"a": 1}), (" 7 ", 7),
        # what is not JSON, or would be read in two ways, is text
        ("", ""), ("ACME", "ACME"), ("09", "09"), ("+1", "+1"), ("0x10", "0x10"), ("NaN", "NaN"), ("Infinity", "Infinity"),
        ("True", "True"), ("1,2", "1,2"), ('1,"x":2', '1,"x":2'), ('1,"value":2', '1,"value":2'), ("1}", "1}"),
        ('{"a":1,"a":2}', '{"a":1,"a":2}'), ("12345678901234567891", "12345678901234567891"), ("a=b", "a=b"), ("'x'", "'x'"),
        ("[1,", "[1,"), ("[" * 200 + "]" * 200, "[" * 200 + "]" * 200),
    ],
)  # fmt: skip
def test_a_value_that_is_json_counts_as_such_and_anything_else_is_text(text: str, value: Any) -> None:
    found = read_arguments([f"name={text}"])
    assert found is not None
    assert found == {"name": value}
    assert type(found["name"]) is type(value)


class TestExplain:
    def test_it_names_the_link_that_refuses(self, deployment: Deployment, token: str) -> None:
        deployment.issued()
        grant = {
            "capabilities": [
                {
                    "capability": "trades:propose",
                    "arguments": {"symbol": "ACME", "amount": {"max": 100, "min": 1}},
                }
            ]
        }
        Path("grant.json").write_text(json.dumps(grant), encoding="utf-8")
        deployment.run(
            "delegate", "pricing-agent.json", "--agent", "worker", "--grant", "grant.json", "--out", "w.json"
        )
        child = remit.Credential.load("w.json")
        document = deployment.json(
            "explain", "w.json", *CALL, "--arg", "symbol=ACME", "--arg", "amount=500", status=1
        )
        assert (document["code"], document["argument"], document["link"]) == ("argument_denied", "amount", 1)
        assert (document["agent"], document["token_id"]) == ("worker", child.token_id)
        assert document["nearest"] == {"symbol": "ACME", "amount": 100}
        text = deployment.run(
            "explain", "w.json", *CALL, "--arg", "symbol=ACME", "--arg", "amount=500", status=1
        ).stdout
        assert (
            f"refused by link 1 of the chain (0 is the root): token {child.token_id} of agent 'worker'"
            in text
        )
        assert "link 0: 'amount' must be a number of at least 1 and at most 1000" in text
        assert "link 1: 'amount' must be a number of at least 1 and at most 100" in text
        assert "the nearest call that is allowed: --arg symbol=ACME --arg amount=100" in text

    @pytest.mark.parametrize(
        ("arguments", "nearest"),
        [
            (["symbol=ACMEE", "amount=5"], {"symbol": "ACME", "amount": 5}),
            (["symbol=INIT", "amount=-3", "extra=1"], {"symbol": "INIT", "amount": 1}),
            (["symbol=7", "amount=2000"], {"symbol": "ACME", "amount": 1000}),
            (["amount=7"], {"amount": 7, "symbol": "ACME"}),
            (["symbol=ACME"], None),  # which amount, nobody can say
            (["symbol=ACME", "amount=many"], None),
        ],
    )
    def test_the_nearest_call_is_one_that_is_allowed(
        self, arguments: list[str], nearest: dict[str, Any] | None, deployment: Deployment, token: str
    ) -> None:
        options = [part for argument in arguments for part in ("--arg", argument)]
        document = deployment.json("explain", *CALL, *options, status=1)
        assert document["nearest"] == nearest
        if nearest is not None:
            again = [part for name, value in nearest.items() for part in ("--arg", f"{name}={value}")]
            assert deployment.json("check", *CALL, *again)["allowed"] is True

    def test_what_is_nearest_is_spelled_for_a_shell(self, deployment: Deployment) -> None:
        issuer = remit.Issuer.load("issuer.key")
        capability = remit.Capability(
            "t:x",
            code=remit.OneOf("7", "8"),
            text=remit.Exact("it's $HOME"),
            number=remit.OneOf(1, 5, 9),
            flag=remit.Exact(True),
            both=remit.AllOf(remit.Range(min=1), remit.Range(max=3)),
        )
        token = issuer.issue("a", [capability]).token
        options = [
            part for pair in ("code=x", "text=y", "number=6", "flag=1", "both=9") for part in ("--arg", pair)
        ]
        result = deployment.run("explain", token, "--capability", "t:x", *options, status=1)
        last = result.stdout.splitlines()[-1].partition(": ")[2]
        again = shlex.split(last)
        assert {'code="7"', 'code="8"'} & set(again)
        assert "text=it's $HOME" in again
        assert {"number=5", "flag=true", "both=3"} <= set(again)
        assert deployment.json("check", token, "--capability", "t:x", *again)["allowed"] is True

    def test_where_nothing_simple_is_near_nothing_is_offered(self, deployment: Deployment) -> None:
        issuer = remit.Issuer.load("issuer.key")
        token = issuer.issue("a", [remit.Capability("t:x", path=remit.Path("/data"))]).token
        document = deployment.json("explain", token, "--capability", "t:x", "--arg", "path=/etc", status=1)
        assert document["nearest"] is None

    def test_a_slip_in_the_capability_is_noticed(self, deployment: Deployment, token: str) -> None:
        result = deployment.run("explain", "--capability", "trades:propse", status=1)
        assert "did you mean 'trades:propose'?" in result.stdout
        document = deployment.json("explain", "--capability", "trades:propse", status=1)
        assert set(document["granted"]) == {"orders:read", "payments:refund", "prices:read", "trades:propose"}

    def test_a_call_without_arguments_can_be_asked_about(self, deployment: Deployment, token: str) -> None:
        assert deployment.run("explain", "--capability", "prices:read").stdout == (
            "allowed: 'prices:read' for agent 'pricing-agent'\n"
        )

    def test_a_token_that_is_no_good_is_explained_as_well(self, deployment: Deployment, token: str) -> None:
        deployment.run("revoke", remit.Credential.from_token(token).token_id)
        assert deployment.json("explain", "--capability", "prices:read", status=1)["code"] == "token_revoked"
        assert (
            deployment.json("explain", "eyJ.x", "--capability", "prices:read", status=1)["code"]
            == "token_malformed"
        )

    def test_it_needs_no_audit_log(self, deployment: Deployment, token: str) -> None:
        Path("audit.jsonl").unlink()  # its head is still there, so a guard that records would not start
        assert deployment.json("explain", "--capability", "prices:read")["allowed"] is True
        assert deployment.json("check", status=1)["code"] in {"config_error", "audit_unavailable"}


def test_a_ledger_that_is_no_ledger_is_an_error_of_one_line(deployment: Deployment, token: str) -> None:
    for name in Path().glob("remit.db*"):
        name.unlink()
    Path("remit.db").write_text("no ledger", encoding="utf-8")
    for command in (
        ["check"],
        ["revocations"],
        ["tokens"],
        ["revoke", "x"],
        ["keys"],
        ["issue", "pricing-agent"],
    ):
        result = deployment.run(*command, "--json", status=1)
        assert json.loads(result.stdout)["code"] in {"config_error", "ledger_unavailable"}
        assert result.stderr.count("\n") == 1


def test_a_token_that_was_revoked_by_another_program_is_denied(deployment: Deployment, token: str) -> None:
    assert deployment.json("check")["allowed"] is True
    guard = remit.Guard.from_config("remit.toml")
    assert guard.revoke(remit.Credential.from_token(token).token_id) is True
    assert deployment.json("check", status=1)["code"] == "token_revoked"

"""`remit issue`: a reviewed grant, or less of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import remit
from remit.keys import HolderKey

from .support import Deployment, payload_of


def granted(document: dict[str, Any]) -> set[str]:
    return set(document["capabilities"])


def test_it_grants_what_the_file_says(deployment: Deployment) -> None:
    document = deployment.json("issue", "pricing-agent")
    assert set(document) == {"token", "token_id", "agent", "issuer", "expires_at", "capabilities", "secrets", "chain", "credential"}  # fmt: skip
    payload = payload_of(document["token"])
    assert document["token_id"] == payload["jti"]
    assert document["expires_at"] == payload["exp"] == payload["iat"] + 600
    assert granted(document) == {"prices:read", "orders:read", "trades:propose", "payments:refund"}
    assert payload["delegate_only"] == ["payments:refund"]
    assert payload["limits"]["trades:propose"]["max_uses"] == 3
    credential = remit.Credential.from_token(
        document["credential"]["chain"], document["credential"]["holder_key"]
    )
    assert credential.has_key


def test_what_goes_into_the_environment_is_all_that_is_printed(deployment: Deployment) -> None:
    result = deployment.run("issue", "pricing-agent")
    assert result.stdout.count("\n") == 1
    members = json.loads(result.stdout)
    assert set(members) == {"chain", "holder_key"}
    assert result.stderr.startswith("remit: issued token ")
    assert members["chain"][0] not in result.stderr


def test_a_file_is_for_its_owner_alone_and_never_overwritten(deployment: Deployment) -> None:
    result = deployment.run("issue", "pricing-agent", "--out", "agent.json")
    path = Path("agent.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    credential = remit.Credential.load(path)
    assert credential.token not in result.output
    before = path.read_bytes()
    live = len(deployment.json("tokens"))
    again = deployment.run("issue", "pricing-agent", "--out", "agent.json", status=1)
    assert "never overwritten" in again.stderr
    assert path.read_bytes() == before
    assert len(deployment.json("tokens")) == live, "nothing was issued for a file that cannot be written"


@pytest.mark.parametrize("out", ["no/such/folder.json", "anchors", "link"])
def test_nothing_is_issued_for_a_file_that_cannot_be_made(out: str, deployment: Deployment) -> None:
    Path("link").symlink_to("nowhere")
    document = deployment.json("issue", "pricing-agent", "--out", out, status=1)
    assert document["code"] == "key_file_error"
    assert deployment.json("tokens") == []
    assert not Path("nowhere").exists()


def test_with_a_file_no_private_key_is_printed(deployment: Deployment) -> None:
    document = deployment.json("issue", "pricing-agent", "--out", "agent.json")
    assert document["path"] == "agent.json"
    assert "credential" not in document


def test_a_holder_of_its_own_gets_a_token_bound_to_its_key(deployment: Deployment) -> None:
    key = HolderKey.generate()
    Path("holder.jwk").write_text(json.dumps(key.public.jwk), encoding="ascii")
    document = deployment.json("issue", "pricing-agent", "--holder", "holder.jwk")
    assert payload_of(document["token"])["cnf"]["jwk"] == key.public.jwk
    assert "credential" not in document
    plain = deployment.run("issue", "pricing-agent", "--holder", "holder.jwk")
    assert set(json.loads(plain.stdout)) == {"chain"}
    assert remit.Credential.from_token(document["token"], key.private_jwk()).has_key


def test_a_private_key_is_no_holder_and_is_not_repeated(deployment: Deployment) -> None:
    jwk = HolderKey.generate().private_jwk()
    Path("holder.jwk").write_text(json.dumps(jwk), encoding="ascii")
    result = deployment.run("issue", "pricing-agent", "--holder", "holder.jwk", status=1)
    assert "holds a private key" in result.stderr
    assert jwk["d"] not in result.output


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kty":"RSA"}', '{"kty":"OKP","crv":"Ed25519","x":"AA"}'])
def test_a_holder_that_is_no_key_is_refused(text: str, deployment: Deployment) -> None:
    Path("holder.jwk").write_text(text, encoding="ascii")
    assert deployment.json("issue", "pricing-agent", "--holder", "holder.jwk", status=1)["code"].endswith(
        "_error"
    )
    assert deployment.json("tokens") == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pricing-agnet", "did you mean 'pricing-agent'?"), ("PRICING-AGENT", "there is no agent"), ("", "no agent"), ("\x1b[2J", "no agent")],
)  # fmt: skip
def test_an_agent_that_is_not_there_is_an_error(name: str, hint: str, deployment: Deployment) -> None:
    result = deployment.run("issue", name, status=1)
    assert hint in result.stderr
    assert "\x1b" not in result.output


class TestNarrowing:
    @pytest.mark.parametrize(
        ("options", "left"),
        [
            (["--capability", "prices:read"], {"prices:read"}),
            (
                ["--capability", "prices:read", "--capability", "trades:propose"],
                {"prices:read", "trades:propose"},
            ),
            (["--scope", "READ"], {"prices:read", "orders:read"}),
            (
                ["--scope", "READ", "--capability", "trades:propose"],
                {"prices:read", "orders:read", "trades:propose"},
            ),
        ],
    )
    def test_what_is_named_is_what_is_granted(
        self, options: list[str], left: set[str], deployment: Deployment
    ) -> None:
        assert granted(deployment.json("issue", "pricing-agent", *options)) == left

    def test_secrets_limits_and_what_may_only_be_passed_on_go_with_their_capabilities(
        self, deployment: Deployment
    ) -> None:
        document = deployment.json("issue", "pricing-agent", "--scope", "READ")
        assert document["secrets"] == ["ORDERS_DB"]
        payload = payload_of(document["token"])
        assert "limits" not in payload
        assert "delegate_only" not in payload
        kept = payload_of(
            deployment.json("issue", "pricing-agent", "--capability", "trades:propose")["token"]
        )
        assert kept["limits"]["trades:propose"] == payload_of(deployment.json("issue", "pricing-agent")["token"])["limits"]["trades:propose"]  # fmt: skip

    def test_a_capability_to_pass_on_stays_one(self, deployment: Deployment) -> None:
        document = deployment.json("issue", "pricing-agent", "--capability", "payments:refund")
        assert payload_of(document["token"])["delegate_only"] == ["payments:refund"]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (["--capability", "users:read"], "'users:read' is not granted"),
            (["--capability", "prices:raed"], "did you mean 'prices:read'?"),
            (["--capability", ""], "is not granted"),
            (["--scope", "USER"], "'USER' is not granted"),
            (["--scope", "NOSUCH"], "'NOSUCH' is not granted"),
            (["--secret", "OTHER"], "'OTHER' is not granted"),
            (["--ttl", "11m"], "more than the 600 seconds"),
            (["--ttl", "7d"], "more than the 600 seconds"),
            (["--max-depth", "3"], "more than the 2 that is granted"),
        ],
    )
    def test_what_the_file_does_not_grant_is_refused(
        self, options: list[str], problem: str, deployment: Deployment
    ) -> None:
        result = deployment.run("issue", "pricing-agent", *options, "--json", status=1)
        document = json.loads(result.stdout)
        assert document["code"] == "attenuation_error"
        assert problem in document["reason"]
        assert "remit.toml" in document["reason"]
        assert deployment.json("tokens") == []

    @pytest.mark.parametrize(
        "ttl", ["0s", "-1m", "10", "1.5m", "", "\N{ARABIC-INDIC DIGIT ONE}m", "NaN", "1w", "10m "]
    )
    def test_a_ttl_that_is_none_is_refused(self, ttl: str, deployment: Deployment) -> None:
        assert deployment.json("issue", "pricing-agent", "--ttl", ttl, status=1)["code"] == "config_error"

    def test_a_ttl_a_session_a_task_and_a_depth_narrow(self, deployment: Deployment) -> None:
        payload = payload_of(
            deployment.json(
                "issue", "pricing-agent", "--ttl", "30s", "--session", "s-9", "--task", "t-9", "--audience", "a",
                "--audience", "b", "--max-depth", "0", "--secret", "BROKER_API_KEY",
            )["token"]
        )  # fmt: skip
        assert payload["exp"] - payload["iat"] == 30
        assert (payload["sid"], payload["task"], payload["aud"], payload["del_max_depth"]) == (
            "s-9",
            "t-9",
            ["a", "b"],
            0,
        )
        tools = payload["authorization_details"][0]["tools"]
        assert {name for name in tools if name.startswith("secret:")} == {"secret:BROKER_API_KEY"}

    @pytest.mark.parametrize(
        ("options", "allowed"),
        [
            ([], True), (["--session", "s-1"], True), (["--session", "s-2"], False), (["--session", ""], False),
            (["--audience", "desk"], True), (["--audience", "elsewhere"], False), (["--audience", "desk", "--audience", "x"], False),
            (["--ttl", "10m"], True), (["--ttl", "601s"], False), (["--max-depth", "0"], True), (["--max-depth", "1"], False),
            (["--max-depth", "-1"], False),
        ],
    )  # fmt: skip
    def test_what_the_file_binds_stays_bound(
        self, options: list[str], allowed: bool, deployment: Deployment
    ) -> None:
        result = deployment.run("issue", "reader", *options, "--json", status=0 if allowed else 1)
        if allowed:
            payload = payload_of(json.loads(result.stdout)["token"])
            assert (payload["sid"], payload["aud"]) == ("s-1", "desk")

    def test_a_secret_without_its_capability_is_refused(self, deployment: Deployment) -> None:
        options = ["--capability", "prices:read", "--secret", "BROKER_API_KEY"]
        assert (
            "none of the capabilities" in deployment.run("issue", "pricing-agent", *options, status=1).stderr
        )


class TestGrantFile:
    def issue(self, deployment: Deployment, grant: object, *options: str, status: int = 0) -> dict[str, Any]:
        text = grant if isinstance(grant, str) else json.dumps(grant)
        Path("grant.json").write_text(text, encoding="utf-8")
        document: dict[str, Any] = deployment.json(
            "issue", "pricing-agent", "--grant", "grant.json", *options, status=status
        )
        return document

    def test_it_narrows_arguments(self, deployment: Deployment) -> None:
        arguments = {"symbol": "ACME", "amount": {"min": 1, "max": 10}}
        document = self.issue(
            deployment, {"capabilities": [{"capability": "trades:propose", "arguments": arguments}]}
        )
        assert granted(document) == {"trades:propose"}
        tool = payload_of(document["token"])["authorization_details"][0]["tools"]["trades:propose"]
        assert tool["amount"]["max"] == 10
        assert tool["symbol"] == {"constraint_type": "exact", "value": "ACME"}

    def test_it_adds_to_what_options_name(self, deployment: Deployment) -> None:
        document = self.issue(deployment, {"capabilities": ["prices:read"]}, "--capability", "orders:read")
        assert granted(document) == {"prices:read", "orders:read"}

    @pytest.mark.parametrize(
        "grant",
        [
            {"capabilities": ["trades:propose"]},
            {"capabilities": [{"capability": "trades:propose", "arguments": {"symbol": "ACME", "amount": {"max": 1001}}}]},
            {"capabilities": [{"capability": "trades:propose", "arguments": {"symbol": "XXXX", "amount": {"min": 1, "max": 9}}}]},
            {"capabilities": [{"capability": "trades:propose", "arguments": {"amount": {"min": 1, "max": 9}}}]},
            {"capabilities": [{"capability": "trades:propose", "arguments": {"symbol": "ACME", "amount": {"min": 1, "max": 9}}, "other_arguments": True}]},
            {"capabilities": ["users:read"]},
            {"capabilities": ["secret:BROKER_API_KEY"]},
            {"capabilities": ["prices:read", "prices:read"]},
        ],
    )  # fmt: skip
    def test_it_never_widens(self, grant: object, deployment: Deployment) -> None:
        assert self.issue(deployment, grant, status=1)["code"] in {"attenuation_error", "config_error"}
        assert deployment.json("tokens") == []

    @pytest.mark.parametrize(
        ("limit", "stated"),
        [
            (
                {"max_uses": 1},
                {"max_uses": 1, "rate": {"uses": 10, "seconds": 60}, "budget": {"amount": 2500}},
            ),
            (
                {"rate": "5/m"},
                {"max_uses": 3, "rate": {"uses": 5, "seconds": 60}, "budget": {"amount": 2500}},
            ),
            (
                {"rate": "10/h"},
                {"max_uses": 3, "rate": {"uses": 10, "seconds": 3600}, "budget": {"amount": 2500}},
            ),
            (
                {"budget": {"amount": 0.5}},
                {"max_uses": 3, "rate": {"uses": 10, "seconds": 60}, "budget": {"amount": 0.5}},
            ),
            ({"max_uses": 4}, None),
            ({"rate": "11/m"}, None),
            ({"rate": "1/s"}, None),
            ({"budget": {"amount": 2501}}, None),
            ({"max_uses": 0}, None),
            ({}, None),
        ],
    )
    def test_its_limits_are_within_those_of_the_file(
        self, limit: dict[str, Any], stated: dict[str, Any] | None, deployment: Deployment
    ) -> None:
        capability = {
            "capability": "trades:propose",
            "arguments": {"symbol": "ACME", "amount": {"min": 1, "max": 9}},
        }
        grant = {"capabilities": [capability], "limits": {"trades:propose": limit}}
        document = self.issue(deployment, grant, status=1 if stated is None else 0)
        if stated is not None:
            assert payload_of(document["token"])["limits"] == {"trades:propose": stated}

    def test_it_may_limit_what_had_no_limit(self, deployment: Deployment) -> None:
        document = self.issue(
            deployment, {"capabilities": ["prices:read"], "limits": {"prices:read": {"max_uses": 1}}}
        )
        assert payload_of(document["token"])["limits"] == {"prices:read": {"max_uses": 1}}

    @pytest.mark.parametrize(
        "grant",
        ["", "[]", "{}", "{", '{"capabilities": []}', '{"capabilities": "prices:read"}', '{"capabilitys": ["prices:read"]}',
         '{"capabilities": ["prices:read"], "limits": {}}', '{"capabilities": ["prices:read"], "limits": {"orders:read": {"max_uses": 1}}}',
         '{"capabilities": ["prices:read"], "secrets": ["BROKER_API_KEY"]}', '{"capabilities": [{"capability": "trades:propose", "argument": {}}]}',
         '{"capabilities": ["prices:read"], "capabilities": ["users:read"]}', '{"capabilities": [7]}', '{"capabilities": [{"capability": "\\u001b[2J"}]}'],
    )  # fmt: skip
    def test_a_file_that_makes_no_sense_is_refused(self, grant: str, deployment: Deployment) -> None:
        document = self.issue(deployment, grant, status=1)
        assert document["code"] in {"config_error", "key_file_error"}
        assert document["reason"].startswith("'grant.json'") or "limits" in document["reason"]
        assert "\x1b" not in document["reason"]


def test_a_private_key_on_the_screen_is_warned_about(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("remit.cli.handover.sys", screen)
    assert "--out FILE keeps it off the screen" in deployment.run("issue", "pricing-agent").stderr
    assert "screen" not in deployment.run("issue", "pricing-agent", "--out", "a.json").output


def test_the_key_of_another_issuer_issues_nothing(deployment: Deployment) -> None:
    Path("issuer.key").unlink()
    remit.Issuer.generate("https://other.example").save("issuer.key")
    assert deployment.json("issue", "pricing-agent", status=1)["code"] == "config_error"


def test_what_cannot_be_recorded_is_not_issued(deployment: Deployment) -> None:
    deployment.run("issue", "pricing-agent")
    Path("audit.jsonl").unlink()
    result = deployment.run("issue", "pricing-agent", status=1)
    assert result.stdout == ""
    assert len(deployment.json("tokens")) == 1

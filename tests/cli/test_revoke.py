"""`remit revoke`, `remit revocations` and `remit tokens`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import remit
from remit.ledger import Revocation

from .support import Deployment


class TestRevoke:
    def test_it_is_done_once_and_says_so_the_second_time(self, deployment: Deployment) -> None:
        token_id = deployment.issued().token_id
        assert deployment.json("revoke", token_id) == {
            "token_id": token_id,
            "revoked": True,
            "results": [{"token_id": token_id, "revoked": True}],
        }
        assert deployment.json("revoke", token_id)["revoked"] is False
        assert deployment.run("revoke", token_id).stdout == f"token {token_id}: was revoked already\n"
        assert deployment.verdict("pricing-agent.json") == "token_revoked"

    def test_with_a_token_its_descendants_go(self, deployment: Deployment) -> None:
        parent = deployment.issued()
        deployment.run(
            "delegate", "pricing-agent.json", "--agent", "w", "--capability", "prices:read", "--out", "w.json"
        )
        child = remit.Credential.load("w.json")
        deployment.run("revoke", child.token_id)
        assert deployment.verdict("w.json") == "token_revoked"
        assert deployment.verdict("pricing-agent.json") == "allowed"
        deployment.run("revoke", parent.token_id)
        assert deployment.verdict("pricing-agent.json") == "token_revoked"

    def test_a_token_can_be_named_by_its_file(self, deployment: Deployment) -> None:
        credential = deployment.issued()
        assert deployment.json("revoke", "--token", "pricing-agent.json")["token_id"] == credential.token_id
        assert deployment.json("revoke", "--token", "-", stdin=credential.token)["revoked"] is False

    def test_an_agent_loses_all_it_has_and_no_other_agent_anything(self, deployment: Deployment) -> None:
        deployment.issued()
        deployment.issued("reader")
        assert deployment.json("revoke", "--agent", "pricing-agent") == {
            "agent": "pricing-agent",
            "revoked": True,
            "results": [{"agent": "pricing-agent", "revoked": True}],
        }
        assert deployment.verdict("pricing-agent.json") == "token_revoked"
        assert deployment.verdict("reader.json") != "token_revoked"

    def test_a_holder_loses_what_its_key_has(self, deployment: Deployment) -> None:
        deployment.issued()
        kid = deployment.json("check", "pricing-agent.json")["holder"]
        assert deployment.json("revoke", "--key", kid)["key"] == kid
        assert deployment.verdict("pricing-agent.json") == "token_revoked"

    @pytest.mark.parametrize("first", ["-", "--", "-h", "_"])
    def test_a_key_may_begin_with_a_dash(self, first: str, deployment: Deployment) -> None:
        kid = first + "A" * (43 - len(first))
        assert deployment.json("revoke", "--key", kid)["revoked"] is True
        assert deployment.json("revocations")[0]["key"] == kid

    def test_several_at_once_each_once(self, deployment: Deployment) -> None:
        deployment.run("revoke", "b")
        document = deployment.json(
            "revoke", "a", "b", "a", "--agent", "pricing-agent", "--reason", "an incident"
        )
        assert document == {
            "revoked": True,
            "results": [
                {"token_id": "a", "revoked": True},
                {"token_id": "b", "revoked": False},
                {"agent": "pricing-agent", "revoked": True},
            ],
        }
        newest = deployment.json("revocations")[0]
        assert (newest["agent"], newest["reason"]) == ("pricing-agent", "an incident")

    def test_nothing_named_is_a_usage_error(self, deployment: Deployment) -> None:
        deployment.run("revoke", status=2)
        deployment.run("revoke", "--reason", "x", status=2)

    def test_the_environment_names_nothing_to_revoke(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REMIT_CREDENTIAL", deployment.issued().to_json())
        deployment.run("revoke", status=2)
        assert deployment.json("revocations") == []

    @pytest.mark.parametrize("option", [[], ["--agent"], ["--key"]])
    def test_a_whole_token_is_no_identifier_and_is_not_repeated(
        self, option: list[str], deployment: Deployment
    ) -> None:
        credential = deployment.issued()
        for given in (credential.token, credential.to_json(), credential.token[:60], "x" * 300):
            result = deployment.run("revoke", *option, given, status=2)
            assert "--token" in result.stderr
            assert given[:50] not in result.output
        assert deployment.json("revocations") == []

    @pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J", " a"])
    def test_a_name_that_is_none_is_refused(self, name: str, deployment: Deployment) -> None:
        for option in ([], ["--agent"], ["--key"]):
            result = deployment.run("revoke", *option, name, "--json", status=1)
            assert json.loads(result.stdout)["code"] == "config_error"
            assert "\x1b" not in result.output

    def test_a_slip_is_noticed_and_revoked_all_the_same(self, deployment: Deployment) -> None:
        result = deployment.run("revoke", "--agent", "pricing-agnet")
        assert "did you mean 'pricing-agent'?" in result.stderr
        assert "no issued token 'nosuch'" in deployment.run("revoke", "nosuch").stderr
        assert deployment.run("revoke", deployment.issued().token_id).stderr == ""
        assert len(deployment.json("revocations")) == 3

    def test_it_works_without_an_audit_log_and_says_so(self, deployment: Deployment) -> None:
        token_id = deployment.issued().token_id
        Path("audit.jsonl").unlink()
        result = deployment.run("revoke", token_id)
        assert "not recorded" in result.stderr
        assert [entry["token_id"] for entry in deployment.json("revocations")] == [token_id]

    def test_it_works_without_the_packages_of_a_secrets_backend(self, deployment: Deployment) -> None:
        policy = Path("remit.toml").read_text(encoding="utf-8")
        Path("remit.toml").write_text(
            policy.replace("env://ORDERS_DB", "keyring://desk/orders"), encoding="utf-8"
        )
        assert deployment.json("revoke", "token-1")["revoked"] is True

    def test_it_works_where_neither_a_key_nor_an_anchor_is(self, deployment: Deployment) -> None:
        deployment.issued()
        for path in (Path("issuer.key"), *Path("anchors").iterdir()):
            path.unlink()
        assert deployment.json("check", "pricing-agent.json", status=1)["code"] == "config_error"
        assert deployment.json("revoke", "--agent", "pricing-agent", "token-1")["revoked"] is True
        assert deployment.json("revocations", "--purge") == {"purged": 0}

    def test_it_is_recorded(self, deployment: Deployment) -> None:
        deployment.run("revoke", "token-1", "--reason", "why")
        last = deployment.json("audit", "tail")[-1]
        assert (last["event"], last["subject"], last["reason"]) == ("revoke", "token:token-1", "why")

    def test_a_reason_that_is_too_long_is_refused(self, deployment: Deployment) -> None:
        assert deployment.json("revoke", "a", "--reason", "x" * 1001, status=1)["code"] == "config_error"


class TestRevocations:
    def test_nothing_is_an_empty_list(self, deployment: Deployment) -> None:
        assert deployment.json("revocations") == []
        assert deployment.run("revocations").stdout == "nothing is revoked\n"

    def test_the_newest_come_first_and_as_many_as_wanted(self, deployment: Deployment) -> None:
        for number in range(5):
            deployment.run("revoke", f"t-{number}")
        assert [entry["token_id"] for entry in deployment.json("revocations")] == [
            f"t-{n}" for n in (4, 3, 2, 1, 0)
        ]
        assert len(deployment.json("revocations", "--limit", "2")) == 2
        result = deployment.run("revocations", "--limit", "2")
        assert "token t-4" in result.stdout
        assert "token t-2" not in result.stdout
        assert "more than the newest 2" in result.stderr
        assert deployment.run("revocations", "--limit", "5").stderr == ""

    def test_programs_get_all_and_people_a_page(self, deployment: Deployment) -> None:
        deployment.run("revoke", *[f"t-{number}" for number in range(60)])
        assert len(deployment.json("revocations")) == 60
        assert len(deployment.run("revocations").stdout.splitlines()) == 51

    @pytest.mark.parametrize("limit", ["0", "-1", "x", ""])
    def test_a_limit_that_is_none_is_a_usage_error(self, limit: str, deployment: Deployment) -> None:
        deployment.run("revocations", "--limit", limit, status=2)

    def test_a_reason_is_printed_escaped(self, deployment: Deployment) -> None:
        deployment.run("revoke", "a", "--reason", "\x1b[2J[bold]x[/bold]\x9b\u202e")
        result = deployment.run("revocations")
        assert "\\x1b[2J[bold]x[/bold]\\x9b\\u202e" in result.stdout
        assert result.stdout.isascii()

    def test_purge_removes_what_is_of_no_more_use_and_counts_it(self, deployment: Deployment) -> None:
        ledger = remit.open_ledger("sqlite:///remit.db")
        ledger.revoke(
            [Revocation(revoked_at=0, expires_at=number, token_id=f"old-{number}") for number in range(3)]
        )
        ledger.close()
        deployment.run("revoke", "new")
        assert deployment.json("revocations", "--purge") == {"purged": 3}
        assert deployment.run("revocations", "--purge").stdout == "0 entries removed\n"
        assert [entry["token_id"] for entry in deployment.json("revocations")] == ["new"]


class TestTokens:
    def test_nothing_is_an_empty_list(self, deployment: Deployment) -> None:
        assert deployment.json("tokens") == []
        assert deployment.run("tokens").stdout == "no live token\n"

    def test_it_lists_who_has_what_and_never_a_token(self, deployment: Deployment) -> None:
        credentials = [deployment.issued(), deployment.issued("reader")]
        found = deployment.json("tokens")
        assert {entry["token_id"] for entry in found} == {credential.token_id for credential in credentials}
        assert all(not entry["revoked"] for entry in found)
        [one] = deployment.json("tokens", "--agent", "reader")
        assert (one["agent"], one["session"], one["capabilities"]) == ("reader", "s-1", ["prices:read"])
        output = deployment.run("tokens").stdout + json.dumps(found)
        assert all(credential.token not in output for credential in credentials)
        assert "eyJ" not in output

    def test_what_was_revoked_is_marked_however_it_was(self, deployment: Deployment) -> None:
        by_id, by_agent = deployment.issued(), deployment.issued("reader")
        by_key = deployment.issued()
        deployment.run("revoke", by_id.token_id, "--agent", "reader")
        deployment.run("revoke", "--key", deployment.json("check", "pricing-agent.json")["holder"])
        still = deployment.issued()
        states = {entry["token_id"]: entry["revoked"] for entry in deployment.json("tokens")}
        assert states == {
            by_id.token_id: True,
            by_agent.token_id: True,
            by_key.token_id: True,
            still.token_id: False,
        }
        assert deployment.run("tokens").stdout.count("revoked") == 3

    def test_pages_are_read_until_there_are_enough(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("remit.cli.revocations._STEP", 2)
        wanted = [deployment.issued("reader").token_id for _ in range(3)]
        for _ in range(4):
            deployment.issued()
        assert {entry["token_id"] for entry in deployment.json("tokens", "--agent", "reader")} == set(wanted)
        assert len(deployment.json("tokens")) == 7
        result = deployment.run("tokens", "--limit", "5")
        assert len(result.stdout.splitlines()) == 6
        assert "may be more" in result.stderr

    def test_what_has_expired_is_not_listed(self, deployment: Deployment) -> None:
        ledger = remit.open_ledger("sqlite:///remit.db")
        ledger.enroll(
            remit.LiveToken(token_id="t", agent="a", issuer="x:y", holder="h", issued_at=1, expires_at=2)
        )
        ledger.close()
        assert deployment.json("tokens") == []

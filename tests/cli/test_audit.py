"""`remit audit`: what was recorded is shown escaped, and what was changed is found."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import remit
from remit.audit import JsonlAudit

from .support import PROGRAM, Deployment

LOG = Path("audit.jsonl")


@pytest.fixture
def recorded(deployment: Deployment) -> Deployment:
    """Some records of two agents, some of them denials."""
    credential = deployment.issued()
    guard = remit.Guard.from_config("remit.toml")
    guard.check(credential, "prices:read", {})
    with pytest.raises(remit.CapabilityDenied):
        guard.check(credential, "trades:propose", {"symbol": "NOPE", "amount": 1})
    deployment.issued("reader")
    deployment.run("revoke", credential.token_id)
    return deployment


class TestVerify:
    def test_a_log_that_is_whole_is(self, recorded: Deployment) -> None:
        document = recorded.json("audit", "verify")
        assert (document["ok"], document["findings"]) == (True, [])
        assert document["lines"] == len(LOG.read_text(encoding="ascii").splitlines())
        text = recorded.run("audit", "verify").stdout
        assert text.startswith(f"ok: {document['lines']} records in 1 file")
        assert document["position"] in text
        assert "signatures were not looked at" in text

    def test_a_path_needs_no_policy_file(self, recorded: Deployment) -> None:
        Path("remit.toml").unlink()
        assert recorded.json("audit", "verify", "audit.jsonl")["ok"] is True
        assert recorded.json("audit", "verify", status=1)["code"] == "config_error"

    @pytest.mark.parametrize(
        "change",
        [
            lambda lines: lines[:2] + lines[3:],
            lambda lines: [*lines[:2], lines[2].replace(b'"allowed":true', b'"allowed":false'), *lines[3:]],
            lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
            lambda lines: lines[:-1],
            lambda lines: [*lines, lines[-1]],
            lambda lines: [],
        ],
        ids=["removed", "altered", "reordered", "cut off", "added", "emptied"],
    )
    def test_what_was_changed_is_found_and_named(
        self, change: Callable[[list[bytes]], list[bytes]], recorded: Deployment
    ) -> None:
        lines = LOG.read_bytes().splitlines(keepends=True)
        LOG.write_bytes(b"".join(change(lines)))
        result = recorded.run("audit", "verify", "audit.jsonl", status=1)
        assert "audit.jsonl" in result.stdout
        assert "[" in result.stdout
        assert "is not as it was written" in result.stderr
        document = recorded.json("audit", "verify", "audit.jsonl", status=1)
        assert document["ok"] is False
        assert document["findings"]

    def test_a_log_that_was_cut_back_is_found_with_what_was_noted(self, recorded: Deployment) -> None:
        earlier = {path: path.read_bytes() for path in Path().glob("audit.jsonl*")}
        recorded.run("revoke", "another")
        position = recorded.json("audit", "verify")["position"]
        for path, data in earlier.items():
            path.write_bytes(data)
        assert recorded.json("audit", "verify")["ok"] is True
        document = recorded.json("audit", "verify", "--expect", position, status=1)
        assert [finding["code"] for finding in document["findings"]] == ["expectation_failed"]

    @pytest.mark.parametrize("expect", ["", "x", "1", "1:x", "0:" + "A" * 43])
    def test_a_position_that_is_none_is_an_error(self, expect: str, recorded: Deployment) -> None:
        assert recorded.json("audit", "verify", "--expect", expect, status=1)["code"] == "config_error"

    def test_signatures_count_where_there_is_an_anchor(self, deployment: Deployment) -> None:
        signer = remit.Issuer.generate("https://audit.acme.example")
        signer.save("audit.key")
        signer.anchor.save("audit-anchor.json")
        policy = Path("remit.toml").read_text(encoding="utf-8")
        Path("remit.toml").write_text(
            policy.replace('path = "audit.jsonl"', 'path = "audit.jsonl"\nkey = "audit.key"\nevery = 2'),
            encoding="utf-8",
        )
        for _ in range(4):
            deployment.issued()
        for arguments in ([], ["audit.jsonl", "--anchor", "audit-anchor.json"]):
            document = deployment.json("audit", "verify", *arguments)
            assert document["checkpoint"]["issuer"] == "https://audit.acme.example"
            assert "signed up to" in deployment.run("audit", "verify", *arguments).stdout
        remit.Issuer.generate("https://audit.acme.example").anchor.save("other.json")
        document = deployment.json("audit", "verify", "audit.jsonl", "--anchor", "other.json", status=1)
        assert document["findings"][0]["code"] == "checkpoint_untrusted"

    @pytest.mark.parametrize("path", ["nosuch", ".", "remit.toml", ""])
    def test_what_is_no_log_is_an_error(self, path: str, recorded: Deployment) -> None:
        result = recorded.run("audit", "verify", path, status=1)
        assert result.exit_code == 1

    def test_a_deployment_without_a_log_says_so(self, deployment: Deployment) -> None:
        Path("remit.toml").write_text('[issuer]\nkey = "issuer.key"\n', encoding="utf-8")
        for command in ("verify", "tail"):
            assert "no [audit] path" in deployment.run("audit", command, status=1).stderr


class TestTail:
    def test_it_shows_the_last_records(self, recorded: Deployment) -> None:
        records = recorded.json("audit", "tail")
        assert [record["event"] for record in records][-2:] == ["issue", "revoke"]
        assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
        assert recorded.json("audit", "tail", "-n", "2") == records[-2:]
        assert recorded.json("audit", "tail", "-n", "0") == []
        assert len(recorded.run("audit", "tail", "-n", "3").stdout.splitlines()) == 3
        Path("remit.toml").unlink()
        assert recorded.json("audit", "tail", "audit.jsonl") == records

    def test_denials_are_shown_alone(self, recorded: Deployment) -> None:
        [denial] = recorded.json("audit", "tail", "--denied")
        assert (denial["code"], denial["capability"]) == ("argument_denied", "trades:propose")
        assert "DENIED" in recorded.run("audit", "tail", "--denied").stdout

    def test_an_agent_is_shown_alone_and_as_many_as_wanted_of_it(self, recorded: Deployment) -> None:
        assert {one["agent"] for one in recorded.json("audit", "tail", "--agent", "reader")} == {"reader"}
        for _ in range(30):
            recorded.issued("reader")
        assert len(recorded.json("audit", "tail", "--agent", "pricing-agent")) == 3, "however long ago"
        assert len(recorded.json("audit", "tail", "--agent", "reader", "-n", "5")) == 5

    def test_nothing_that_was_recorded_reaches_the_terminal_as_it_is(self, deployment: Deployment) -> None:
        audit = JsonlAudit("hostile.jsonl")
        for name in ("\x1b[2J", "\x9b31m", "\u202egnp", "[red]x[/red]", "a\nb\rc", "\x7f"):
            audit.record(
                remit.AuditRecord(
                    event="decision",
                    at=1.0,
                    allowed=False,
                    agent=name,
                    capability=name,
                    subject=name,
                    reason=name,
                    code=name,
                    token_id=name,
                )
            )
        audit.close()
        for extra in ([], ["--denied"], ["--json"]):
            output = deployment.run("audit", "tail", "hostile.jsonl", *extra).output
            assert output.isascii()
            assert output.replace("\n", "").isprintable()
        assert "[red]x[/red]" in deployment.run("audit", "tail", "hostile.jsonl").stdout
        assert len(deployment.run("audit", "tail", "hostile.jsonl", "--denied").stdout.splitlines()) == 6

    def test_a_line_that_cannot_be_read_is_shown_as_one(self, recorded: Deployment) -> None:
        with LOG.open("ab") as file:
            file.write(b"\x1b[2Jjunk\n")
        last = recorded.json("audit", "tail", "audit.jsonl")[-1]
        assert last["seq"] is None
        assert last["problem"].startswith("the line")
        text = recorded.run("audit", "tail", "audit.jsonl", "--denied").stdout
        assert "\x1b" not in text
        assert text.splitlines()[-1].startswith("?  the line")

    @pytest.mark.parametrize("count", ["-1", "x", "1.5"])
    def test_a_count_that_is_none_is_a_usage_error(self, count: str, recorded: Deployment) -> None:
        recorded.run("audit", "tail", "-n", count, status=2)

    def test_a_filter_goes_on_with_what_follows(
        self, recorded: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is written between the two looks at the log is shown once."""
        import remit.audit

        real, calls = remit.audit.read_log, 0

        def read_log(path: Path, *, last: int | None = None, follow: bool = False) -> object:
            nonlocal calls
            calls += 1
            if follow:
                recorded.run("check", "eyJ.x", status=1)
                monkeypatch.undo()
                yield from real(path, last=last)
                raise KeyboardInterrupt
            yield from real(path, last=last)

        monkeypatch.setattr(remit.audit, "read_log", read_log)
        output = recorded.run("audit", "tail", "--denied", "--follow", "--json").stdout
        codes = [json.loads(line)["code"] for line in output.splitlines()]
        assert (codes, calls) == (["argument_denied", "token_malformed"], 2)


def test_without_a_command_it_helps(deployment: Deployment) -> None:
    result = deployment.run("audit", status=None)
    assert "tail" in result.output
    assert "verify" in result.output


class TestReview:
    def test_a_path_does_not_switch_off_the_anchors_of_a_policy_file(self, recorded: Deployment) -> None:
        remit.Issuer.generate("https://audit.acme.example").save("audit.key")
        text = Path("remit.toml").read_text(encoding="utf-8").replace("[audit]", '[audit]\nkey = "audit.key"')
        Path("remit.toml").write_text(text, encoding="utf-8")
        alone = recorded.json("audit", "verify", "audit.jsonl")
        assert (alone["ok"], alone["signatures_checked"]) == (True, False)
        both = recorded.json("audit", "verify", "audit.jsonl", "--config", "remit.toml", status=1)
        assert both["signatures_checked"] is True
        assert both["findings"][0]["code"] == "checkpoint_missing"

    @pytest.mark.parametrize("at", [9e11, -9e11, 1e300])
    def test_a_time_that_no_date_shows_hides_no_record(self, recorded: Deployment, at: float) -> None:
        with LOG.open("a", encoding="ascii") as file:
            file.write(
                json.dumps({"seq": 99, "prev": "A" * 43, "event": "decision", "at": at, "allowed": True})
            )
            file.write("\n")
        shown = recorded.run("audit", "tail").stdout
        assert f"{at:g} s" in shown
        assert "pricing-agent" in shown

    def test_a_standard_output_that_takes_nothing_is_one_line(self, recorded: Deployment) -> None:
        with Path("/dev/full").open("w", encoding="ascii") as full:
            command = [str(PROGRAM), "audit", "verify", "--json"]
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
            )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1

"""What is made of a policy file: issuer, anchors, ledger, audit trail, guard; and who may do what then."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.config import Config, load

from .support import NOW, URI, policy

POLICY = """\
[issuer]
uri = "https://auth.acme.example"
key = "keys/issuer.key"
anchors = "anchors"
max_ttl = "2h"

[ledger]
url = "sqlite:///state/remit.db"
fresh = { "trades:propose" = "5s", "*" = "2m" }

[audit]
path = "state/audit.jsonl"
key = "keys/audit.key"
every = 10
arguments = { "trades:propose" = ["symbol"] }

[secrets]
BROKER_API_KEY = "env://BROKER_KEY_PROD"
DB = "file://secrets/db"

[scopes]
READ = ["prices:read", "orders:read"]
USER = [{ capability = "messages:send", arguments = { to = { email = "acme.example" } } }]
INPUT = ["forms:fill"]
"service:billing" = ["invoices:read", { capability = "invoices:mark", arguments = { id = { prefix = "inv-" } } }]

[agents.pricing-agent]
capabilities = [
    "news:read",
    { capability = "trades:propose", arguments = { symbol = { one_of = ["ACME", "INIT"] }, amount = { max = 1000 } } },
]
scope = "READ"
secrets = { BROKER_API_KEY = ["trades:propose"] }
ttl = "15m"
limits = { "trades:propose" = { max_uses = 3, rate = "10/m", budget = { amount = 2500 } } }

[agents.coordinator]
scope = ["READ", "USER", "INPUT", "service:billing"]
delegate_only = ["messages:send"]
max_depth = 2
audience = "https://tools.acme.example"

[agents.clerk]
scope = "service:billing"
session = "s-1"
task = "t-1"
secrets = ["DB"]
audience = ["https://tools.acme.example", "https://other.acme.example"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A whole deployment in the folder of the policy file."""
    issuer, auditor = remit.Issuer.generate(URI), remit.Issuer.generate("https://audit.acme.example")
    for folder in ("keys", "anchors", "state", "secrets"):
        (tmp_path / folder).mkdir()
    issuer.save(tmp_path / "keys/issuer.key")
    auditor.save(tmp_path / "keys/audit.key")
    issuer.anchor.save(tmp_path / "anchors/issuer.json")
    (tmp_path / "secrets/db").write_text("hunter2\n")
    return policy(POLICY)


def code(call: Any, *arguments: Any, **keywords: Any) -> str:
    """The code of the refusal, or `allowed`."""
    try:
        call(*arguments, **keywords)
    except remit.Denied as denied:
        return denied.code
    return "allowed"


def test_a_grant_is_a_line_in_the_file_and_issue_needs_no_more(config: Config) -> None:
    issuer, guard = config.issuer(), config.guard()
    credential = issuer.issue(**config.grant("pricing-agent"))
    assert credential.agent == "pricing-agent"
    assert code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 900}) == "allowed"
    assert (
        code(guard.check, credential, "trades:propose", {"symbol": "EVIL", "amount": 1}) == "argument_denied"
    )
    assert (
        code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1001})
        == "argument_denied"
    )
    assert (
        code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1, "x": 1})
        == "argument_denied"
    )
    assert code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1000}) == "allowed"
    assert (
        code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1000})
        == "limit_exceeded"
    )
    assert code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1}) == "allowed"
    assert (
        code(guard.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1}) == "limit_exceeded"
    )
    assert code(guard.check, credential, "news:read", {"anything": 1}) == "allowed"
    assert code(guard.check, credential, "prices:read", {}) == "allowed"
    assert code(guard.check, credential, "forms:fill", {}) == "capability_missing"


SCOPES = {
    "READ": {"prices:read", "orders:read"},
    "USER": {"messages:send"},
    "INPUT": {"forms:fill"},
    "service:billing": {"invoices:read", "invoices:mark"},
}
ARGUMENTS = {"messages:send": {"to": "a@acme.example"}, "invoices:mark": {"id": "inv-1"}}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_grants_what_it_bundles_and_nothing_of_the_others(config: Config, scope: str) -> None:
    issuer, guard = config.issuer(), config.guard(audit=remit.MemoryAudit())
    credential = issuer.issue("somebody", config.scopes[scope])
    for other, names in SCOPES.items():
        for name in names:
            expected = "allowed" if other == scope else "capability_missing"
            assert code(guard.check, credential, name, ARGUMENTS.get(name, {})) == expected


def test_an_agent_with_several_scopes_has_all_of_them(config: Config) -> None:
    agent = config.agents["coordinator"]
    assert {capability.name for capability in agent.capabilities} == set().union(*SCOPES.values())
    assert agent.scope == ("READ", "USER", "INPUT", "service:billing")


def test_delegation_sessions_tasks_and_audiences_are_those_of_the_file(config: Config) -> None:
    issuer, guard = config.issuer(), config.guard(audit=remit.MemoryAudit())
    coordinator = issuer.issue(**config.grant("coordinator"))
    arguments = {"to": "a@acme.example"}
    assert code(guard.check, coordinator, "messages:send", arguments) == "audience_mismatch"
    here = remit.Guard(config.anchors(), audience="https://tools.acme.example")
    assert code(here.check, coordinator, "messages:send", arguments) == "delegate_only"
    worker = coordinator.delegate(
        "worker", [remit.Capability("messages:send", to="a@acme.example")], max_depth=1
    )
    assert code(here.check, worker, "messages:send", arguments) == "allowed"
    inner = worker.delegate("inner", [remit.Capability("messages:send", to="a@acme.example")])
    with pytest.raises(remit.AttenuationError):
        inner.delegate("too-deep", [remit.Capability("messages:send", to="a@acme.example")])
    clerk = issuer.issue(**config.grant("clerk"))
    assert code(here.check, clerk, "invoices:read", {}) == "session_mismatch"
    assert code(here.check, clerk, "invoices:read", {}, session="s-1") == "task_mismatch"
    assert code(here.check, clerk, "invoices:read", {}, session="s-1", task="t-1") == "allowed"


def test_secrets_are_resolved_where_the_file_says_and_from_where_it_says(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_KEY_PROD", "k-31415")
    monkeypatch.setenv("BROKER_API_KEY", "not this one")
    issuer, guard = config.issuer(), config.guard()
    pricing = issuer.issue(**config.grant("pricing-agent"))
    assert guard.resolve_secret(pricing, "BROKER_API_KEY", tool="trades:propose").reveal() == "k-31415"
    assert code(guard.resolve_secret, pricing, "BROKER_API_KEY", tool="news:read") == "secret_denied"
    assert code(guard.resolve_secret, pricing, "DB", tool="news:read") == "secret_denied"
    grant = config.grant("clerk")
    del grant["audience"]
    clerk = issuer.issue(**grant)
    held = {"session": "s-1", "task": "t-1"}
    assert guard.resolve_secret(clerk, "DB", tool="invoices:read", **held).reveal() == "hunter2"


def test_a_grant_is_new_each_time_and_changes_nothing(config: Config) -> None:
    grant: Any = config.grant("pricing-agent")
    grant["capabilities"].append(remit.Capability("root:everything"))
    grant["secrets"]["DB"] = ["news:read"]
    grant["limits"].clear()
    grant["ttl"] = 7200
    again: Any = config.grant("pricing-agent")
    assert len(again["capabilities"]) == 4
    assert again["secrets"] == {"BROKER_API_KEY": ["trades:propose"]}
    assert list(again["limits"]) == ["trades:propose"]
    assert again["ttl"] == 900
    for thing in (config.agents, config.scopes, config.references, config.agents["pricing-agent"].limits):
        with pytest.raises(TypeError):
            thing["x"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        config.agents = {}  # type: ignore[misc]


def test_an_agent_that_is_not_there_is_told_with_the_one_that_was_meant(config: Config) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        config.grant("pricing-agnet")
    assert str(caught.value) == "remit.toml: there is no agent 'pricing-agnet', did you mean 'pricing-agent'?"
    for name in ("", None, 7, ["pricing-agent"], "x" * 5000):
        with pytest.raises(remit.ConfigError, match="there is no agent"):
            config.grant(name)  # type: ignore[arg-type]


def test_paths_are_relative_to_the_file_wherever_one_stands(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for path in (tmp_path / "remit.toml", Path("../remit.toml")):
        found = load(path)
        assert (
            code(found.guard().check, found.issuer().issue(**found.grant("pricing-agent")), "news:read", {})
            == "allowed"
        )
        assert found.key_path is not None
        assert found.key_path.samefile(tmp_path / "keys/issuer.key")
    assert not list(elsewhere.iterdir())
    assert (tmp_path / "state/remit.db").exists()
    assert (tmp_path / "state/audit.jsonl").exists()


def test_what_a_file_opens_once_stays_where_it_was_opened(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the file was named by a relative path before
    config.ledger().revocations()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "sqlite:///{folder}/remit.db"),
        ("sqlite:///remit.db", "sqlite:///{folder}/remit.db"),
        ("sqlite:///./remit.db", "sqlite:///{folder}/remit.db"),
        ("sqlite:///data/a%20b.db", "sqlite:///{folder}/data/a%20b.db"),
        ("sqlite:////var/lib/remit.db", "sqlite:////var/lib/remit.db"),
        ("memory://", "memory://"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("env://LEDGER", "sqlite:///{folder}/from-env.db"),
    ],
)
def test_a_ledger_url_is_relative_to_the_file(
    url: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER", "sqlite:///from-env.db")
    config = policy("" if url is None else f"[ledger]\nurl = '{url}'\n")
    assert config.ledger_url() == expected.replace("{folder}", str(tmp_path).replace(" ", "%20"))


def test_a_folder_with_odd_characters_holds_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "50% a#b?c é"
    odd.mkdir()
    monkeypatch.chdir(odd)
    policy("[ledger]\nurl = 'sqlite:///remit.db'\n").ledger().revocations()
    assert (odd / "remit.db").exists()


def test_what_is_issued_is_noted_and_recorded_where_the_file_says(config: Config) -> None:
    credential = config.issuer().issue(**config.grant("pricing-agent"))
    [token] = [t for t in config.ledger().tokens(0) if t.token_id == credential.token_id]
    assert token.agent == "pricing-agent"
    guard = config.guard()
    guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 900})
    written = Path("state/audit.jsonl").read_text()
    assert credential.token_id in written
    assert '"ACME"' in written  # named in [audit] arguments
    assert "900" not in [
        part for line in written.splitlines() for part in str(json.loads(line).get("arguments")).split()
    ]
    assert config.issuer().issue(**config.grant("clerk")).token_id in Path("state/audit.jsonl").read_text()


def test_two_guards_of_one_file_share_what_was_revoked_and_used(config: Config) -> None:
    one, other = config.guard(), config.guard()
    credential = config.issuer().issue(**config.grant("pricing-agent"))
    for guard in (one, other, one):
        guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 1})
    assert (
        code(other.check, credential, "trades:propose", {"symbol": "ACME", "amount": 1}) == "limit_exceeded"
    )
    one.revoke(credential.token_id)
    assert code(other.check, credential, "news:read", {}) == "token_revoked"


def test_the_callers_own_ledger_audit_and_clock_go_before_the_files(config: Config) -> None:
    ledger, audit = remit.MemoryLedger(), remit.MemoryAudit()
    issuer = config.issuer(audit=audit, ledger=ledger, clock=lambda: NOW)
    guard = config.guard(audit=audit, ledger=ledger, clock=lambda: NOW + 899)
    credential = issuer.issue(**config.grant("pricing-agent"))
    assert code(guard.check, credential, "news:read", {}) == "allowed"
    late = config.guard(audit=audit, ledger=ledger, clock=lambda: NOW + 900)
    assert code(late.check, credential, "news:read", {}) == "token_expired"
    assert [record.event for record in audit.records] == ["issue", "decision", "decision"]
    assert [token.token_id for token in ledger.tokens(NOW)] == [credential.token_id]
    assert not list(Path("state").iterdir())


def test_guard_and_issuer_are_made_from_the_file_by_their_own_names(config: Config) -> None:
    issuer, guard = remit.Issuer.from_config("remit.toml"), remit.Guard.from_config("remit.toml")
    credential = issuer.issue(**config.grant("pricing-agent"))
    assert code(guard.check, credential, "news:read", {}) == "allowed"


def test_a_guard_needs_only_public_material(config: Config) -> None:
    credential = config.issuer().issue(**config.grant("pricing-agent"))
    Path("keys/issuer.key").unlink()
    text = POLICY.replace('key = "keys/audit.key"\n', "")
    guard = policy(text).guard(audit=remit.MemoryAudit())
    assert code(guard.check, credential, "news:read", {}) == "allowed"
    assert b"PRIVATE" not in Path("anchors/issuer.json").read_bytes()


def test_settings_of_the_guard_are_those_of_the_file(config: Config) -> None:
    issuer = config.issuer(audit=remit.MemoryAudit(), ledger=remit.MemoryLedger())
    anchors = '[issuer]\nanchors = ["anchors/issuer.json"]\n[ledger]\nurl = "memory://"\n[guard]\n'
    week = issuer.issue("a", ["x:do"], ttl="90m")
    there = issuer.issue("a", ["x:do"], audience="there")
    assert code(policy(anchors + "max_ttl = '1h'\n").guard().check, week, "x:do", {}) == "token_malformed"
    assert code(policy(anchors + "max_ttl = '2h'\n").guard().check, week, "x:do", {}) == "allowed"
    assert (
        code(policy(anchors + "audience = 'here'\n").guard().check, there, "x:do", {}) == "audience_mismatch"
    )
    strict = policy(anchors + "audience = ['here', 'there']\nrequire_chain_audience = true\n").guard()
    assert code(strict.check, there, "x:do", {}) == "allowed"
    assert code(strict.check, week, "x:do", {}) == "audience_mismatch"
    proving = policy(
        anchors + "audience = 'there'\nrequire_proof_audience = true\nproof_window = '5s'\n"
    ).guard()
    arguments: dict[str, Any] = {}
    assert code(proving.verify, week.present("x:do", arguments), "x:do", arguments) == "audience_mismatch"
    assert (
        code(proving.verify, week.present("x:do", arguments, audience="there"), "x:do", arguments)
        == "allowed"
    )


@pytest.mark.parametrize(
    ("ledger", "capabilities", "expected"),
    [
        ("", "", None),
        ("fresh = 30", "", 30),
        ("fresh = '2m'", "", 120),
        ("fresh = { 'x:do' = '5s' }", "", {"x:do": 5}),
        ("fresh = { 'x:do' = '5s', '*' = 90 }", "", {"x:do": 5, "*": 90}),
        ("", "'x:do' = { fresh = '5s' }", {"x:do": 5}),
        ("fresh = '2m'", "'x:do' = { fresh = '5s' }", {"x:do": 5, "*": 120}),
        ("fresh = { '*' = '2m' }", "'x:do' = { fresh = '5s' }\n'y:do' = {}", {"x:do": 5, "*": 120}),
    ],
)
def test_staleness_bounds_may_stand_with_the_ledger_or_the_capability(
    ledger: str, capabilities: str, expected: object
) -> None:
    text = f"[ledger]\n{ledger}\n" + (f"[capabilities]\n{capabilities}\n" if capabilities else "")
    assert policy(text).tables.fresh == expected


def test_anchors_are_files_folders_or_both_and_each_counts_once(tmp_path: Path) -> None:
    issuers = [remit.Issuer.generate(f"https://{name}.example") for name in ("one", "two", "three")]
    (tmp_path / "folder").mkdir()
    issuers[0].anchor.save(tmp_path / "one.json")
    issuers[1].anchor.save(tmp_path / "folder/two.json")
    issuers[2].anchor.save(tmp_path / "folder/three.json")
    issuers[0].anchor.save(tmp_path / "folder/one-again.json")
    (tmp_path / "folder/.hidden.json").write_text("not an anchor")
    (tmp_path / "folder/README").write_text("not an anchor either")
    config = policy("[issuer]\nanchors = ['one.json', 'folder']\n")
    assert [anchor.issuer for anchor in config.anchors()] == [
        "https://one.example",
        "https://three.example",
        "https://two.example",
    ]
    assert policy("[issuer]\nanchors = 'one.json'\n").anchors() == [issuers[0].anchor]


def test_what_cannot_be_made_is_told_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = remit.Issuer.generate(URI)
    issuer.save("issuer.key")
    issuer.save("locked.key", passphrase="open sesame")
    (tmp_path / "empty").mkdir()
    monkeypatch.delenv("NO_SUCH", raising=False)
    cases: list[tuple[str, Any, str]] = [
        ("", Config.issuer, "remit.toml:1: [issuer] names no key, so nothing can be issued here"),
        ("", Config.anchors, "remit.toml:1: [issuer] names no anchors, so no token can be trusted here"),
        ("[issuer]\nanchors = ['empty']\n", Config.anchors, "remit.toml:2: anchors: the folder 'empty' has no *.json in it"),
        ("[issuer]\n\nuri = 'https://other.example'\nkey = 'issuer.key'\n", Config.issuer,
         "remit.toml:3: uri is 'https://other.example', and the key is that of 'https://auth.acme.example'"),
        ("[issuer]\nkey = 'locked.key'\npassphrase = 'env://NO_SUCH'\n", Config.issuer,
         "remit.toml:3: passphrase cannot be had: The backend 'env' has no secret 'it'."),
        ("[ledger]\nurl = 'env://NO_SUCH'\n", Config.ledger, "remit.toml:2: url cannot be had: The backend 'env' has no secret 'it'."),
    ]  # fmt: skip
    for text, make, told in cases:
        with pytest.raises(remit.ConfigError) as caught:
            make(policy(text))
        assert str(caught.value) == told
    with pytest.raises(remit.KeyFileError):
        policy("[issuer]\nkey = 'absent.key'\n").issuer()
    with pytest.raises(remit.KeyFileError):
        policy("[issuer]\nkey = 'locked.key'\n").issuer()
    with pytest.raises(remit.KeyFileError):
        policy("[issuer]\nanchors = 'issuer.key'\n").anchors()


def test_an_encrypted_key_opens_with_the_passphrase_that_is_referred_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remit.Issuer.generate(URI).save("issuer.key", passphrase="open sesame")
    monkeypatch.setenv("PASSPHRASE", "open sesame")
    config = policy("[issuer]\nkey = 'issuer.key'\npassphrase = 'env://PASSPHRASE'\n")
    assert config.issuer().uri == URI
    assert [anchor.issuer for anchor in config.anchors()] == [URI]
    monkeypatch.setenv("PASSPHRASE", "open barley")
    with pytest.raises(remit.KeyFileError):
        config.issuer()


def test_a_ttl_above_the_maximum_of_the_file_is_refused_at_issue_too(config: Config) -> None:
    with pytest.raises(remit.ConfigError, match="longer than the maximum of 7200"):
        config.issuer().issue("a", ["x:do"], ttl="3h")


def test_a_maximum_below_the_usual_ttl_is_the_ttl(config: Config) -> None:
    short = policy("[issuer]\nkey = 'keys/issuer.key'\nmax_ttl = '5m'\n[agents.a]\ncapabilities = ['x:do']\n")
    credential = short.issuer(ledger=remit.MemoryLedger(), clock=lambda: NOW).issue(**short.grant("a"))
    assert credential.expires_at.timestamp() == NOW + 300
    assert "ttl" not in policy("[agents.a]\ncapabilities = ['x:do']\n").grant("a")


def test_a_remote_reference_is_read_where_its_package_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = policy("[secrets]\nA = 'vault://secret/db#password'\nB = 'azure://vault/name'\n")
    monkeypatch.setitem(sys.modules, "hvac", None)
    assert config.references == {"A": "vault://secret/db#password", "B": "azure://vault/name"}
    with pytest.raises(remit.ConfigError, match="hvac"):
        config.secrets()


def test_an_anchor_folder_that_cannot_be_read_is_told_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    Path("anchors").mkdir()
    config = policy("[issuer]\nanchors = ['anchors']\n")
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(remit.ConfigError) as caught:
        config.anchors()
    assert str(caught.value) == "remit.toml:2: anchors: 'anchors': Permission denied"


def test_files_that_are_made_are_their_owners_alone(config: Config) -> None:
    config.guard()
    config.ledger().revocations()
    for name in ("state/remit.db", "state/audit.jsonl"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


def test_an_empty_file_grants_nothing_and_opens_its_ledger(tmp_path: Path) -> None:
    config = policy("")
    assert (dict(config.agents), dict(config.scopes), dict(config.capabilities)) == ({}, {}, {})
    assert config.audit() is None
    assert (config.uri, config.key_path, config.audit_path) == (None, None, None)
    config.ledger().revocations()
    assert (tmp_path / "remit.db").exists()
    assert repr(config) == "<Config remit.toml: 0 agents, 0 scopes>"


def test_what_is_declared_can_be_read(config: Config) -> None:
    found = policy(
        "[capabilities]\n'x:do' = { effect = 'pay', fresh = '5s', description = 'Pays.' }\n'y:do' = {}\n"
    )
    one = found.capabilities["x:do"]
    assert (one.name, one.effect, one.fresh, one.description) == ("x:do", "pay", 5, "Pays.")
    assert found.capabilities["y:do"].effect is None
    assert policy("[service]\nadmin_token = 'env://T'\naudience = 'a'\n").service.audience == ("a",)

"""The doctor: each thing that can be wrong is found where it is, and a sound deployment has nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import remit
from remit.config.doctor import RULES, Finding, examine
from remit.config.doctor.effects import effect_of, is_open

from .support import NOW, URI

SOUND = """\
[issuer]
uri = "https://auth.acme.example"
key = "keys/issuer.key"
anchors = "anchors"

[ledger]
url = "sqlite:///state/remit.db"
fresh = "1m"

[audit]
path = "state/audit.jsonl"
key = "keys/audit.key"
arguments = { "payments:transfer" = ["amount"] }

[secrets]
BANK_KEY = "env://BANK_KEY"

[service]
admin_token = "env://ADMIN_TOKEN"

[scopes]
READ = ["accounts:read", "payments:list"]

[agents.teller]
capabilities = [
    { capability = "payments:transfer", arguments = { to = { prefix = "DE" }, amount = { min = 1, max = 500 } } },
    { capability = "mail:send", arguments = { to = { email = "acme.example" }, text = { max_length = 2000 } } },
]
scope = "READ"
secrets = { BANK_KEY = ["payments:transfer"] }
ttl = "15m"
max_depth = 1
limits = { "payments:transfer" = { max_uses = 5, budget = { amount = 1000 } } }
"""
LINES: Final = {line.strip(): number for number, line in enumerate(SOUND.splitlines(), 1)}


def at(line: str, more: int = 0) -> str:
    """Where a line of the sound file stands, or as many lines further down."""
    return f"remit.toml:{LINES[line] + more}"


class Deployment:
    """A sound deployment in the working directory, to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issuer = remit.Issuer.generate(URI)
        for name in ("keys", "anchors", "state"):
            (folder / name).mkdir()
        self.issuer.save(folder / "keys/issuer.key")
        remit.Issuer.generate("https://audit.acme.example").save(folder / "keys/audit.key")
        self.issuer.anchor.save(folder / "anchors/issuer.json")
        self.write(SOUND)
        self.open()

    def open(self) -> None:
        """Make the files that a first use makes."""
        remit.Guard.from_config("remit.toml")

    def write(self, text: str) -> None:
        Path("remit.toml").write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        """Replace a part of the policy file, which must be there once."""
        text = Path("remit.toml").read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        self.write(text.replace(old, new))


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setenv("BANK_KEY", "b-271828")
    monkeypatch.setenv("ADMIN_TOKEN", "a-31415926535897932384")
    before = os.umask(0o022)
    # Where the tests run may be a file system that a restart empties, which is no matter of theirs.
    monkeypatch.setattr("remit.ledger.sqlite.SqliteLedger.examine", lambda _ledger: [])
    yield Deployment(tmp_path)
    os.umask(before)


def found(**options: Any) -> dict[str, Finding]:
    """What the doctor finds, by identifier."""
    findings = examine("remit.toml", **options)
    return {finding.id: finding for finding in findings}


def test_a_sound_deployment_has_nothing(deployment: Deployment) -> None:
    assert examine("remit.toml") == []


# ── one thing wrong at a time ───────────────────────────────────────────────────────────────────────────────

Spoil = Callable[[Deployment], object]


def mode(path: str, bits: int) -> Spoil:
    return lambda _: Path(path).chmod(bits)


def text(old: str, new: str) -> Spoil:
    return lambda deployment: deployment.change(old, new)


def both(*spoils: Spoil) -> Spoil:
    return lambda deployment: [spoil(deployment) for spoil in spoils]


def copy(source: str, target: str) -> Spoil:
    return lambda _: shutil.copy2(source, target)


def repository(ignored: str = "") -> Spoil:
    def spoil(_: Deployment) -> None:
        subprocess.run(["git", "init", "-q", "."], check=True)  # noqa: S607
        Path(".gitignore").write_text(ignored)

    return spoil


def replace_anchor(_: Deployment) -> None:
    Path("anchors/issuer.json").unlink()
    remit.Issuer.generate(URI).anchor.save("anchors/issuer.json")


def environment(name: str, value: str | None) -> Spoil:
    def spoil(_: Deployment) -> None:
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    return spoil


TRANSFER = '{ capability = "payments:transfer", arguments = { to = { prefix = "DE" }, amount = { min = 1, max = 500 } } },'
MAIL = '{ capability = "mail:send", arguments = { to = { email = "acme.example" }, text = { max_length = 2000 } } },'
LIMITS = 'limits = { "payments:transfer" = { max_uses = 5, budget = { amount = 1000 } } }\n'
AUDIT_KEY = 'key = "keys/audit.key"\n'
LEDGER_URL = 'url = "sqlite:///state/remit.db"'

WRONG: dict[str, tuple[str, Spoil, str, str]] = {
    "key-readable": ("R001-key-file-open", mode("keys/issuer.key", 0o644), "keys/issuer.key", "its mode is 0644"),
    "key-group-writable": ("R001-key-file-open", mode("keys/issuer.key", 0o620), "keys/issuer.key", "its mode is 0620"),
    "audit-key-readable": ("R001-key-file-open", mode("keys/audit.key", 0o604), "keys/audit.key", "its mode is 0604"),
    "key-no-key": ("R002-key-file-unusable", lambda _: Path("keys/issuer.key").write_text("{}"), "keys/issuer.key", "holds no issuer"),
    "key-other-uri": ("R002-key-file-unusable", text('uri = "https://auth.acme', 'uri = "https://auth.other'),
                      "remit.toml:2", "uri is 'https://auth.other.example', and the key is that of 'https://auth.acme.example'"),
    "audit-key-absent": ("R002-key-file-unusable", lambda _: Path("keys/audit.key").unlink(), "keys/audit.key", "cannot be read"),
    "key-in-repository": ("R003-key-in-repository", repository("audit.key\n"), "keys/issuer.key", "git does not ignore it"),
    "policy-writable": ("R004-policy-file-open", mode("remit.toml", 0o646), "remit.toml", "its mode is 0646"),
    "ledger-writable": ("R005-ledger-file-open", mode("state/remit.db", 0o602), "state/remit.db", "its mode is 0602"),
    "audit-writable": ("R007-audit-file-open", mode("state/audit.jsonl", 0o602), "state/audit.jsonl", "its mode is 0602"),
    "audit-readable": ("R008-audit-file-readable", mode("state/audit.jsonl", 0o644), "state/audit.jsonl", "its mode is 0644"),
    "key-absent": ("R009-key-file-absent", lambda _: Path("keys/issuer.key").unlink(), "remit.toml:3", "is not there"),
    "policy-wrong": ("R010-policy-invalid", text('ttl = "15m"', 'ttl = "soon"'), at('ttl = "15m"'),
                     "ttl 'soon' must be a number and a unit: 30s, 15m, 2h or 7d"),
    "policy-no-toml": ("R010-policy-invalid", text("[ledger]", "[ledger"), "remit.toml:6",
                       "is not valid TOML: Expected ']' at the end of a table declaration"),
    "policy-absent": ("R010-policy-invalid", lambda _: Path("remit.toml").unlink(), "remit.toml", "cannot be read: No such file"),
    "ledger-no-database": ("R030-ledger-unreachable", lambda _: Path("state/remit.db").write_bytes(b"x" * 4096), "remit.toml:7", ""),
    "ledger-no-folder": ("R030-ledger-unreachable", text("///state/remit.db", "///sate/remit.db"), "sate/remit.db", "its folder is not there"),
    "ledger-no-scheme": ("R030-ledger-unreachable", text("sqlite:///state/remit.db", "mysql://host/db"), "remit.toml:7", "no ledger is known for"),
    "ledger-in-memory": ("R031-ledger-not-durable", text("sqlite:///state/remit.db", "memory://"), "remit.toml:7", "it is in memory"),
    "ledger-absent": ("R035-ledger-absent", text("state/remit.db", "state/other.db"), "state/other.db", "it is not there"),
    "no-anchors-at-all": ("R040-no-anchors", both(text('anchors = "anchors"\n', ""), text('key = "keys/issuer.key"\n', "")), "remit.toml",
                          "it names neither anchors nor a key"),
    "anchor-no-json": ("R041-anchor-unusable", lambda _: Path("anchors/more.json").write_text("more"), "anchors/more.json", "is not JSON"),
    "anchor-writable": ("R041-anchor-unusable", both(copy("anchors/issuer.json", "anchors/more.json"), mode("anchors/more.json", 0o646)),
                        "anchors/more.json", "has mode 0646"),
    "anchor-twice": ("R042-anchor-duplicate", copy("anchors/issuer.json", "anchors/more.json"), "anchors/more.json", "issuer.json holds the same"),
    "anchor-of-another": ("R043-own-anchor-missing", replace_anchor, "remit.toml:4", "no anchor is that of"),
    "no-anchors": ("R044-guards-need-key", text('anchors = "anchors"\n', ""), "remit.toml:3", "there are no anchors"),
    "key-for-guards": ("R045-key-not-needed", lambda deployment: deployment.write(SOUND[: SOUND.index("[secrets]")].replace("arguments", "#")),
                       "remit.toml:3", "neither agents nor an admin token"),
    "key-among-anchors": ("R046-key-among-anchors", copy("keys/issuer.key", "anchors/zzz.json"), "anchors/zzz.json", "it holds a private key"),
    "jwk-among-anchors": ("R046-key-among-anchors", lambda _: Path("anchors/zzz.json").write_text('{"issuer": "x", "jwk": {"d": "AA"}}'),
                          "anchors/zzz.json", "it holds a private key"),
    "unconstrained": ("R060-unconstrained-effect", text(MAIL, '"mail:send",'), at(MAIL),
                      "'mail:send' sends, with any arguments"),
    "unconstrained-scope": ("R060-unconstrained-effect", text('"payments:list"', '"files:delete"'), at('READ = ["accounts:read", "payments:list"]'),
                            "'files:delete' deletes, with any arguments"),
    "unlimited": ("R061-unlimited-payment", text(LIMITS, ""), at("[agents.teller]"), "may use 'payments:transfer' without end"),
    "long-ttl": ("R062-long-ttl", text('ttl = "15m"', 'ttl = "2h"'), at('ttl = "15m"'), "has a token for 7200 seconds"),
    "deep": ("R063-deep-delegation", text("max_depth = 1", "max_depth = 4"), at("max_depth = 1"), "may be 4 delegations deep"),
    "secret-everywhere": ("R064-secret-everywhere", text('{ BANK_KEY = ["payments:transfer"] }', '["BANK_KEY"]'),
                          at('secrets = { BANK_KEY = ["payments:transfer"] }'), "may resolve 'BANK_KEY' from all of 4 capabilities"),
    "other-arguments": ("R065-other-arguments", text("max_length = 2000 } }", "max_length = 2000 } }, other_arguments = true"),
                        at(MAIL), "'mail:send' sends, and may be given other arguments"),
    "anything": ("R066-anything-goes", text("text = { max_length = 2000 }", "text = { anything = true }"),
                 at(MAIL), "'mail:send' sends, and 'text' may be anything"),
    "near-miss": ("R067-capability-near-miss", text('"payments:list"]', '"payments:list", "payment:list"]'), at('READ = ["accounts:read", "payments:list"]'),
                  "'payment:list' is almost 'payments:list'"),
    "agents-near-miss": ("R068-agent-near-miss", text("[agents.teller]", "[agents.telelr]\nscope = 'READ'\n[agents.teller]"),
                         at("[agents.teller]", 2), "'teller' is almost 'telelr'"),
    "scope-unused": ("R069-scope-unused", both(text('[service]\nadmin_token = "env://ADMIN_TOKEN"\n', ""), text("[scopes]\n", "[scopes]\nUSER = ['x:do']\n")),
                     "remit.toml:20", "scope 'USER'"),
    "secret-absent": ("R070-secret-unresolvable", environment("BANK_KEY", None), at('BANK_KEY = "env://BANK_KEY"'), "BANK_KEY cannot be had"),
    "secret-empty": ("R070-secret-unresolvable", environment("BANK_KEY", ""), at('BANK_KEY = "env://BANK_KEY"'), "BANK_KEY cannot be had"),
    "admin-token-short": ("R071-admin-token-short", environment("ADMIN_TOKEN", "hunter2"), at('admin_token = "env://ADMIN_TOKEN"'), "too short"),
    "admin-token-absent": ("R072-setting-unresolvable", environment("ADMIN_TOKEN", None), at('admin_token = "env://ADMIN_TOKEN"'), "admin_token cannot be had"),
    "ledger-url-absent": ("R072-setting-unresolvable", text("sqlite:///state/remit.db", "env://NO_SUCH_LEDGER"), "remit.toml:7", "url cannot be had"),
    "passphrase-absent": ("R072-setting-unresolvable", text('key = "keys/issuer.key"', 'key = "keys/issuer.key"\npassphrase = "env://NO_SUCH"'), "remit.toml:4",
                          "passphrase cannot be had"),
    "no-audit": ("R080-audit-missing", lambda deployment: deployment.write(SOUND.replace(SOUND[SOUND.index("[audit]"): SOUND.index("[secrets]")], "")),
                 "remit.toml", "there is no [audit]"),
    "audit-unsigned": ("R081-audit-unsigned", text(AUDIT_KEY, ""), at("[audit]"), "there is no key"),
    "audit-no-folder": ("R082-audit-unwritable", text("state/audit.jsonl", "sate/audit.jsonl"), "sate/audit.jsonl", "its folder is not there"),
    "audit-a-folder": ("R082-audit-unwritable", text("state/audit.jsonl", "state"), "state", "it is a folder"),
    "audit-in-clear": ("R083-audit-shows-secrets", text('["amount"]', '["amount", "api_key"]'), at('arguments = { "payments:transfer" = ["amount"] }'),
                       "'api_key' of 'payments:transfer'"),
    "audit-by-issuer": ("R084-audit-signed-by-issuer", text("keys/audit.key", "keys/issuer.key"), at(AUDIT_KEY.strip()), "it is the issuer's"),
}  # fmt: skip


@pytest.mark.parametrize(("identifier", "spoil", "where", "what"), WRONG.values(), ids=WRONG)
def test_one_thing_that_is_wrong_is_found_and_nothing_else(
    deployment: Deployment, identifier: str, spoil: Spoil, where: str, what: str
) -> None:
    spoil(deployment)
    findings = examine("remit.toml")
    assert [finding.id for finding in findings] == [identifier], findings
    [finding] = findings
    assert finding.where.endswith(where)
    assert what in finding.what
    assert finding.severity == RULES[identifier].severity
    assert finding.remedy == RULES[identifier].remedy


FOLDERS = {
    "keys": {"R001-key-file-open"},
    "state": {"R005-ledger-file-open", "R007-audit-file-open"},
    "anchors": {"R041-anchor-unusable"},
    ".": {"R004-policy-file-open"},
}


@pytest.mark.parametrize(("folder", "expected"), FOLDERS.items(), ids=FOLDERS)
def test_a_folder_that_others_can_write_to_is_as_bad_as_the_file(
    deployment: Deployment, folder: str, expected: set[str]
) -> None:
    before = Path(folder).stat().st_mode
    Path(folder).chmod(0o777)
    assert set(found()) == expected
    Path(folder).chmod(0o1777)  # where nobody can remove what is another's
    assert found() == {}
    Path(folder).chmod(before)


def test_a_scope_is_not_unused_where_a_service_grants_it_or_nobody_is_granted_anything(
    deployment: Deployment,
) -> None:
    deployment.change("[scopes]\n", "[scopes]\nUSER = ['x:do']\n")
    assert found() == {}
    Path("remit.toml").write_text(
        SOUND[: SOUND.index("[service]")].replace("arguments", "#") + "[scopes]\nUSER = ['x:do']\n"
    )
    assert set(found()) == {"R045-key-not-needed"}


def test_a_secret_of_an_agent_with_one_capability_is_not_everywhere(deployment: Deployment) -> None:
    deployment.change(
        "[agents.teller]",
        "[agents.reader]\ncapabilities = ['news:read']\nsecrets = ['BANK_KEY']\n[agents.teller]",
    )
    assert found() == {}


def test_a_secret_whose_backend_is_not_installed_cannot_be_had(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    deployment.change('"env://BANK_KEY"', '"vault://secret/bank#key"')
    assert "hvac" in found()["R070-secret-unresolvable"].what


def test_a_key_that_git_ignores_is_no_finding(deployment: Deployment) -> None:
    repository("*.key\n")(deployment)
    assert found() == {}


def test_a_key_that_is_committed_is_found_though_it_is_ignored(deployment: Deployment) -> None:
    repository("*.key\n")(deployment)
    subprocess.run(["git", "add", "-f", "keys/issuer.key"], check=True)  # noqa: S607
    assert set(found()) == {"R003-key-in-repository"}


def test_where_git_cannot_be_asked_a_key_in_a_work_tree_counts_as_not_ignored(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository("*.key\n")(deployment)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert set(found()) == {"R003-key-in-repository"}


def test_a_key_that_is_absent_where_nothing_else_is_an_anchor_is_unusable(deployment: Deployment) -> None:
    deployment.change('anchors = "anchors"\n', "")
    Path("keys/issuer.key").unlink()
    assert set(found()) == {"R002-key-file-unusable", "R044-guards-need-key"}


def test_an_empty_folder_of_anchors_is_found(deployment: Deployment) -> None:
    Path("anchors/issuer.json").unlink()
    assert set(found()) == {"R041-anchor-unusable", "R043-own-anchor-missing"}


def test_a_git_that_fails_is_no_reason_to_be_silent(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository("*.key\n")(deployment)

    def fail(*_: object, **__: object) -> Any:
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(subprocess, "run", fail)
    assert set(found()) == {"R003-key-in-repository"}


@pytest.mark.parametrize("exists", [True, False])
def test_an_audit_file_that_this_user_may_not_write_is_found(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if not exists:
        Path("state/audit.jsonl").unlink()
    asked: list[str] = []
    monkeypatch.setattr(os, "access", lambda path, _: asked.append(Path(path).name))
    assert set(found()) == {"R082-audit-unwritable"}
    assert asked == ["audit.jsonl" if exists else "state"]


def test_a_passphrase_is_asked_for_and_used(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("keys/issuer.key").unlink()
    deployment.issuer.save("keys/issuer.key", passphrase="open sesame")
    assert set(found()) == {"R002-key-file-unusable"}
    deployment.change('key = "keys/issuer.key"', 'key = "keys/issuer.key"\npassphrase = "env://PASSPHRASE"')
    monkeypatch.setenv("PASSPHRASE", "open sesame")
    assert found() == {}


# ── clocks and ledgers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_that_is_set_to_before_this_release_is_found(deployment: Deployment) -> None:
    assert set(found(clock=lambda: 0.0, monotonic=lambda: 5.0)) == {"R020-clock-wrong"}
    assert found(clock=lambda: 0.0, monotonic=lambda: 5.0)["R020-clock-wrong"].what == "it says 1970-01-01"


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0.0, set()), (0.9, set()), (1.5, {"R021-clock-jumps"}), (-3600.0, {"R021-clock-jumps"})],
)
def test_a_clock_that_is_set_meanwhile_is_found(
    deployment: Deployment, step: float, expected: set[str]
) -> None:
    readings = iter([float(NOW), NOW + 2.0 + step])
    ticks = iter([100.0, 102.0])
    assert set(found(clock=lambda: next(readings), monotonic=lambda: next(ticks))) == expected


class Server(remit.MemoryLedger):
    """A ledger on a server that says things of itself."""

    complaints: tuple[str, ...] = ()
    ahead = 0.0
    closed = 0

    def examine(self) -> list[str]:
        return list(self.complaints)

    def server_time(self) -> float:
        return NOW + self.ahead

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def server(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    """A sound deployment on a server."""
    kind = type("OneServer", (Server,), {})
    monkeypatch.setattr("remit.config.model.open_ledger", lambda _url: kind())
    deployment.change("sqlite:///state/remit.db", "redis://localhost/0")
    return kind


def frozen() -> float:
    return NOW


def at_rest() -> float:
    return 0.0


def test_a_server_is_asked_what_is_wrong_with_it_and_closed(server: type[Server]) -> None:
    assert found(clock=frozen, monotonic=at_rest) == {}
    server.complaints = ("maxmemory-policy is allkeys-lru.", "nothing is written to disk.")
    findings = examine("remit.toml", clock=frozen, monotonic=at_rest)
    assert [finding.id for finding in findings] == ["R032-ledger-setting"] * 2
    assert [finding.what for finding in findings] == list(server.complaints)
    assert server.closed == 2


@pytest.mark.parametrize(
    ("ahead", "what"), [(4.0, None), (-4.0, None), (60.0, "60 seconds ahead of"), (-7.0, "7 seconds behind")]
)
def test_a_server_whose_clock_is_another_is_found(
    server: type[Server], ahead: float, what: str | None
) -> None:
    server.ahead = ahead
    findings = found(clock=frozen, monotonic=at_rest)
    assert set(findings) == ({"R022-clock-apart"} if what else set())
    assert what is None or what in findings["R022-clock-apart"].what


def test_a_server_that_fails_is_found_and_what_it_said_is_not_shown(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(remit.MemoryLedger):
        def position(self) -> Any:
            raise RuntimeError("cannot connect as user with password CANARY")

    monkeypatch.setattr("remit.config.model.open_ledger", lambda _url: Broken())
    [finding] = examine("remit.toml")
    assert (finding.id, finding.what) == ("R030-ledger-unreachable", "it failed with RuntimeError")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost/0", set()),
        ("redis://:hunter2@localhost/0", {"R033-ledger-password"}),
        ("postgresql://remit:hunter2@db/remit", {"R033-ledger-password"}),
        ("postgresql://remit@db/remit?password=hunter2", {"R033-ledger-password"}),
        ("postgresql://remit@db/remit?sslmode=verify-full", set()),
        ("redis://[oops/0", set()),
        ("env://LEDGER_URL", set()),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_password_in_the_policy_file_is_found_and_not_shown(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, url: str, expected: set[str]
) -> None:
    monkeypatch.setenv("LEDGER_URL", "redis://:hunter2@localhost/0")
    deployment.change("redis://localhost/0", url)
    findings = found(clock=frozen, monotonic=at_rest)
    assert set(findings) == expected
    assert "hunter2" not in str(findings)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('fresh = "1m"', 'fresh = "5m"', "remit.toml:8"),
        ('fresh = "1m"', 'fresh = { "payments:transfer" = "61s" }', "remit.toml:8"),
        ('fresh = "1m"', 'fresh = { "payments:transfer" = "5s", "mail:send" = "5s", "*" = "5m" }', None),
        ('fresh = "1m"', "", None),
        (
            "[scopes]",
            '[capabilities]\n"payments:transfer" = { fresh = "2m" }\n"mail:send" = {}\n"accounts:read" = { fresh = "2m" }\n"payments:list" = {}\n[scopes]',
            at("[scopes]", 1),
        ),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_bound_that_is_long_for_what_a_capability_does_is_found(
    deployment: Deployment, old: str, new: str, where: str | None
) -> None:
    deployment.change(old, new)
    findings = found(clock=frozen, monotonic=at_rest)
    assert set(findings) == ({"R036-stale-effects"} if where else set())
    assert where is None or findings["R036-stale-effects"].where == where


def test_looking_changes_nothing(deployment: Deployment) -> None:
    deployment.change("state/remit.db", "state/other.db")
    deployment.change("state/audit.jsonl", "state/other.jsonl")
    before = {path: path.read_bytes() for path in deployment.folder.rglob("*") if path.is_file()}
    assert set(found()) == {"R035-ledger-absent"}
    assert {path: path.read_bytes() for path in deployment.folder.rglob("*") if path.is_file()} == before


# ── what it says ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_rule_is_shown_to_find_something() -> None:
    shown = {identifier for identifier, *_ in WRONG.values()}
    elsewhere = {
        "R020-clock-wrong",
        "R021-clock-jumps",
        "R022-clock-apart",
        "R032-ledger-setting",
        "R033-ledger-password",
        "R036-stale-effects",
    }
    assert shown | elsewhere == set(RULES)


def test_the_gravest_stands_first(deployment: Deployment) -> None:
    deployment.change("text = { max_length = 2000 }", "text = { anything = true }")
    deployment.change('ttl = "15m"', 'ttl = "2h"')
    Path("remit.toml").chmod(0o666)
    findings = examine("remit.toml")
    assert [finding.severity for finding in findings] == ["error", "warning", "note"]
    assert findings[1].to_dict() == {
        "id": "R062-long-ttl",
        "severity": "warning",
        "where": at('ttl = "15m"'),
        "what": "agent 'teller' has a token for 7200 seconds",
        "remedy": "issue shorter ones more often",
    }


def test_everything_wrong_in_the_policy_file_is_a_finding_of_its_own(deployment: Deployment) -> None:
    deployment.change('ttl = "15m"', 'ttl = "soon"\nttll = 1')
    assert [finding.id for finding in examine("remit.toml")] == ["R010-policy-invalid"] * 2


def test_no_value_is_shown_whatever_is_wrong(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_KEY", "CANARY-1")
    monkeypatch.setenv("ADMIN_TOKEN", "CANARY-2")
    monkeypatch.setenv("LEDGER_URL", "mysql://CANARY-3@host/db")
    monkeypatch.setenv("PASSPHRASE", "CANARY-4")
    deployment.change("sqlite:///state/remit.db", "env://LEDGER_URL")
    deployment.change('key = "keys/issuer.key"', 'key = "keys/issuer.key"\npassphrase = "env://PASSPHRASE"')
    findings = examine("remit.toml")
    assert {"R030-ledger-unreachable", "R071-admin-token-short"} <= {finding.id for finding in findings}
    assert "CANARY" not in str(findings)
    deployment.change('BANK_KEY = "env://BANK_KEY"', 'BANK_KEY = "CANARY-5"')
    assert "CANARY" not in str(examine("remit.toml"))


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(remit.ConfigError) as caught:
        examine("")
    assert "Traceback" not in str(caught.value) + "".join(traceback.format_exception_only(caught.value))


def test_the_file_is_that_of_the_environment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("remit.toml").rename("other.toml")
    assert [finding.id for finding in examine()] == ["R010-policy-invalid"]
    monkeypatch.setenv("REMIT_CONFIG", "other.toml")
    assert examine() == []


def test_the_clock_of_this_machine_is_later_than_the_oldest_allowed() -> None:
    assert time.time() > 1_735_689_600


# ── what a capability does, by its name ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("payments:transfer", "pay"), ("refund", "pay"), ("payments:refund", "pay"), ("payment", "pay"), ("buyShares", "pay"),
        ("refund_and_notify", "pay"), ("email:send", "send"), ("sendEmail", "send"), ("SendEMail", "send"), ("email", "send"),
        ("slack.post_message", "send"), ("HTTPPost", "send"), ("files:delete", "delete"), ("rm", "delete"), ("db:drop", "delete"),
        ("run_shell", "execute"), ("exec", "execute"), ("code/eval", "execute"), ("files:write", "write"), ("setPrice", "write"),
        ("payments:read", None), ("payments:list", None), ("email:search", None), ("list_refunds", None), ("news:read", None),
        ("trades:propose", None), ("settings:view", None), ("reset", None), ("prices", None), ("", None), ("運転", None),
    ],
)  # fmt: skip
def test_the_name_of_a_capability_tells_what_it_does(name: str, effect: str | None) -> None:
    assert effect_of(name, {}) == effect


def test_what_is_declared_goes_before_the_name(deployment: Deployment) -> None:
    declared = "".join(
        f"[capabilities.'{name}']\n{line}\n"
        for name, line in [
            ("payments:transfer", "effect = 'read'"), ("mail:send", ""), ("accounts:read", "effect = 'pay'"), ("payments:list", ""),
        ]
    )  # fmt: skip
    deployment.change("[scopes]", f"{declared}[scopes]")
    deployment.change(LIMITS, "")
    findings = found()
    assert set(findings) == {"R060-unconstrained-effect", "R061-unlimited-payment"}
    assert "'accounts:read' pays" in findings["R060-unconstrained-effect"].what
    assert "'accounts:read'" in findings["R061-unlimited-payment"].what


@pytest.mark.parametrize(
    ("constraint", "verdict"),
    [
        (remit.Anything(), True), (remit.NotOneOf("a"), True), (remit.AnyOf("a", remit.Anything()), True), (remit.AllOf(remit.Anything()), True),
        (remit.Each(remit.Anything()), True), (remit.Path("/"), True), (remit.Anything().optional(), True),
        (remit.AllOf(remit.Anything(), remit.MaxLength(3)), False), (remit.AnyOf("a", "b"), False), (remit.Path("/srv"), False),
        (remit.MaxLength(10), False), (remit.Each(remit.OneOf("a")), False), (remit.Fields(a=remit.Anything()), False),
    ],
)  # fmt: skip
def test_a_constraint_that_restricts_nothing_is_known(constraint: remit.Constraint, verdict: bool) -> None:
    assert is_open(constraint) is verdict


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("trades:propose", "trades:propse", True), ("trades:propose", "trades:proposee", True), ("trades:propose", "trades:porpose", True),
        ("trades:propose", "trades:propofe", True), ("trades:propose", "trades:approve", False), ("worker-1", "worker-2", False),
        ("worker1", "worker", False), ("ab:cd", "ab:ce", False), ("aaaaaa", "aaaaaaa", True), ("abcdef", "bacdfe", False),
    ],
)  # fmt: skip
def test_a_slip_of_one_letter_is_told_from_another_name(
    deployment: Deployment, one: str, other: str, verdict: bool
) -> None:
    deployment.change('"payments:list"]', f'"payments:list", "{one}", "{other}"]')
    assert ("R067-capability-near-miss" in found()) is verdict

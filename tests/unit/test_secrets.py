"""R8, R9, R11, N2: the token first, then the name, then the backend; only inside the call that may."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

import remit

from .support import World, refusal, verdict

CANARY: Final = "canary-3f1c9a77"


class Spy(remit.Secrets):
    """A backend that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def backend_of(self, name: str) -> str:
        """Name itself."""
        return "spy"

    def fetch(self, name: str) -> str:
        """Remember and answer."""
        self.asked.append(name)
        return CANARY


@pytest.fixture
def spy() -> Spy:
    return Spy()


@pytest.fixture
def guard(world: World, spy: Spy) -> remit.Guard:
    return world.new_guard(secrets=spy)


def _resolve(
    guard: remit.Guard, credential: Any, name: Any = "KEY", tool: Any = "tool:use", **said: Any
) -> str:
    return verdict(lambda: guard.resolve_secret(credential, name, tool=tool, **said))


def test_a_granted_secret_names_its_backend_token_and_agent(
    world: World, guard: remit.Guard, spy: Spy
) -> None:
    credential = world.issue(secrets=["KEY"])
    secret = guard.resolve_secret(credential, "KEY", tool="tool:use")
    assert (secret.name, secret.backend) == ("KEY", "spy")
    assert (secret.token_id, secret.agent) == (credential.token_id, "agent-a")
    assert secret.reveal() == CANARY
    assert spy.asked == ["KEY"]


def test_a_secret_outside_the_grant_is_a_typed_refusal(world: World, guard: remit.Guard, spy: Spy) -> None:
    credential = world.issue(secrets=["KEY"])
    denied = refusal(lambda: guard.resolve_secret(credential, "OTHER_KEY", tool="tool:use"))
    assert isinstance(denied, remit.SecretDenied)
    assert denied.code == "secret_denied"
    assert "'OTHER_KEY'" in denied.reason
    assert spy.asked == []


@pytest.mark.parametrize(
    "name", ["key", "KEY ", "", "*", "KEY\x00", "secret:KEY", None, 5, b"KEY", ["KEY"]], ids=repr
)
def test_a_name_that_is_not_the_granted_one_never_reaches_the_backend(
    world: World, guard: remit.Guard, spy: Spy, name: Any
) -> None:
    assert _resolve(guard, world.issue(secrets=["KEY"]), name) == "secret_denied"
    assert spy.asked == []


def test_the_token_is_checked_before_the_name_and_the_name_before_the_backend(
    world: World, guard: remit.Guard, spy: Spy
) -> None:
    granted: dict[str, Any] = {"secrets": ["KEY"]}
    bare, closed, revoked = (world.issue(**granted) for _ in range(3))
    closed.close()
    guard.revoke(revoked.token_id)
    stranger = remit.Issuer.generate("https://other.example").issue("x", ["tool:use"], secrets=["KEY"])
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (stranger, {"name": "OTHER"}, "token_issuer_untrusted"),
        (closed, {"name": "OTHER"}, "credential_closed"),
        (remit.Credential.from_token(bare.chain), {}, "proof_missing"),
        (bare.token, {}, "proof_missing"),
        (None, {}, "token_malformed"),
        (bare, {"agent": "agent-b"}, "agent_mismatch"),
        (bare, {"session": ""}, "session_mismatch"),
        (bare, {"tool": "other:tool"}, "capability_missing"),
        (bare, {"tool": None}, "capability_missing"),
        (revoked, {}, "token_revoked"),
        (world.issue(), {}, "secret_denied"),
    ]
    for credential, options, code in cases:
        assert _resolve(guard, credential, **options) == code
    world.clock.now += 600
    assert _resolve(guard, bare) == "token_expired"
    assert spy.asked == []


def test_a_secret_is_resolvable_only_from_the_capabilities_it_was_granted_for(
    world: World, guard: remit.Guard, spy: Spy
) -> None:
    credential = world.issue("a", "b", secrets={"KEY": ["a"]})
    assert _resolve(guard, credential, tool="b") == "secret_denied"
    assert spy.asked == []
    assert _resolve(guard, credential, tool="a") == "allowed"


def _tool(seen: list[str]) -> Callable[..., str]:
    @remit.requires_capability("tool:use")
    def tool(n: int, *, api_key: remit.Secret = remit.secret("KEY")) -> str:
        seen.append(api_key.reveal())
        return "done"

    return tool


def test_a_tool_gets_its_secret_and_the_caller_does_not(world: World, guard: remit.Guard, spy: Spy) -> None:
    seen: list[str] = []
    with guard.acting_as(world.issue(secrets=["KEY"])):
        assert _tool(seen)(1) == "done"
    assert seen == [CANARY]
    assert spy.asked == ["KEY"]


def test_the_backend_is_not_asked_for_a_call_that_is_denied(
    world: World, guard: remit.Guard, spy: Spy
) -> None:
    seen: list[str] = []
    tool = _tool(seen)
    narrow = remit.Capability("tool:use", n=remit.Range(max=5))
    used_up = world.issue(secrets=["KEY"], limits={"tool:use": remit.Limit(max_uses=1)})
    guard.check(used_up, "tool:use", {"n": 1})
    revoked = world.issue(secrets=["KEY"])
    guard.revoke(revoked.token_id)
    for credential, code in (
        (world.issue(narrow, secrets=["KEY"]), "argument_denied"),
        (world.issue("other", secrets=["KEY"]), "capability_missing"),
        (world.issue(), "secret_denied"),
        (used_up, "limit_exceeded"),
        (revoked, "token_revoked"),
    ):
        with guard.acting_as(credential):
            assert verdict(lambda: tool(6)) == code
    assert verdict(lambda: tool(1)) == "not_bound"
    assert (spy.asked, seen) == ([], [])


def test_a_call_that_cannot_be_recorded_resolves_nothing(world: World, spy: Spy) -> None:
    class Full:
        def record(self, record: remit.AuditRecord) -> None:
            raise OSError(28, "No space left on device")

    guard = world.new_guard(secrets=spy, audit=Full())
    with guard.acting_as(world.issue(secrets=["KEY"])):
        assert verdict(lambda: _tool([])(1)) == "audit_unavailable"
    assert spy.asked == []


def test_nobody_can_pass_a_secret_parameter(world: World, guard: remit.Guard, spy: Spy) -> None:
    seen: list[str] = []
    tool = _tool(seen)
    with guard.acting_as(world.issue(secrets=["KEY"])):
        for forged in (
            "mine",
            None,
            remit.secret("KEY"),
            guard.resolve_secret(world.issue(secrets=["KEY"]), "KEY", tool="tool:use"),
        ):
            assert verdict(lambda: tool(1, api_key=forged)) == "argument_denied"
        assert verdict(lambda: tool(1, "mine")) == "argument_denied"
    assert seen == []


def test_a_secret_that_is_not_there_denies_the_call_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = world.issue(secrets=["KEY"])
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("KEY", raising=False)
        else:
            monkeypatch.setenv("KEY", value)
        with world.guard.acting_as(credential):
            assert verdict(lambda: _tool([])(1)) == "secret_not_found"
        assert _resolve(world.guard, credential) == "secret_not_found"


def _failing(self: object, reference: object) -> str:
    raise ConnectionError(f"vault answered {CANARY}")


def test_a_backend_that_fails_denies_the_call_without_what_it_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.secrets.backends.environment.Environment.read", _failing)
    credential = world.issue(secrets=["KEY"])
    for call in (
        lambda: world.guard.resolve_secret(credential, "KEY", tool="tool:use"),
        lambda: _bound(world.guard, credential),
    ):
        denied = refusal(call)
        assert denied.code == "secret_backend_error"
        assert "ConnectionError" in denied.reason
        assert CANARY not in f"{denied!r} {denied} {denied.to_dict()}"


def test_a_store_of_ones_own_that_fails_denies_the_call_as_well(world: World) -> None:
    class Failing(remit.Secrets):
        def fetch(self, name: str) -> str:
            raise ConnectionError(f"vault answered {CANARY}")

    guard, credential = world.new_guard(secrets=Failing()), world.issue(secrets=["KEY"])
    for call in (
        lambda: guard.resolve_secret(credential, "KEY", tool="tool:use"),
        lambda: _bound(guard, credential),
    ):
        assert refusal(call).code == "secret_backend_error"


def _bound(guard: remit.Guard, credential: remit.Credential) -> object:
    with guard.acting_as(credential):
        return _tool([])(1)


def test_a_secret_is_read_from_the_environment_by_default(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", CANARY)
    monkeypatch.setenv("KEY_PROD", "other")
    credential = world.issue(secrets=["KEY"])
    secret = world.guard.resolve_secret(credential, "KEY", tool="tool:use")
    assert (secret.reveal(), secret.backend) == (CANARY, "env")
    mapped = world.new_guard(secrets={"KEY": "env://KEY_PROD"})
    assert mapped.resolve_secret(credential, "KEY", tool="tool:use").reveal() == "other"


@pytest.mark.parametrize(
    "references",
    [{"KEY": "nowhere://x"}, {"KEY": "env://"}, {"KEY": "KEY"}, {"KEY": ""}, {"KEY": None}, {"": "env://X"}, ["KEY"], "KEY",
     {1: "env://X"}, 5], ids=repr,
)  # fmt: skip
def test_a_reference_that_makes_no_sense_is_refused(references: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Secrets(references)


@pytest.mark.parametrize(
    "secrets",
    ["KEY", [""], [None], ["KEY", "KEY"], {"KEY": []}, {"KEY": ["other"]}, {"KEY": "tool:use"}, 5],
    ids=repr,
)
def test_a_grant_of_secrets_that_makes_no_sense_is_refused(world: World, secrets: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.issue(secrets=secrets)


def test_every_resolution_is_recorded_with_its_name_and_never_its_value(
    world: World, guard: remit.Guard
) -> None:
    credential = world.issue(secrets=["KEY"])
    guard.resolve_secret(credential, "KEY", tool="tool:use")
    _resolve(guard, credential, "OTHER")
    with guard.acting_as(credential):
        _tool([])(1)
    records = world.events("secret")
    assert [(record.subject, record.allowed, record.code) for record in records] == [
        ("KEY", True, None), ("OTHER", False, "secret_denied"), ("KEY", True, None),
    ]  # fmt: skip
    [decision] = world.events("decision")
    assert records[2].call_id == decision.call_id
    assert CANARY not in repr(world.audit.records)


def test_a_secret_in_bytes_that_are_no_utf8_is_handed_over_or_denied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", b"can\xffary".decode("utf-8", "surrogateescape"))
    credential = world.issue(secrets=["KEY"])
    seen: list[str] = []
    with world.guard.acting_as(credential):
        assert verdict(lambda: _tool(seen)(1)) in {"allowed", "secret_backend_error"}
    if seen:
        secret = world.guard.resolve_secret(credential, "KEY", tool="tool:use")
        assert secret == world.guard.resolve_secret(credential, "KEY", tool="tool:use")
    [outcome] = world.events("outcome")
    assert outcome.allowed is bool(seen)

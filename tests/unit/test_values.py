"""Capabilities, constraints and keys are values: they compare, hash and copy as what they say."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pytest

import remit
from remit.keys import HolderKey

from .support import NOW, URI, World, refusal, verdict

CONSTRAINTS: Final[list[remit.Constraint]] = [
    remit.Exact(1), remit.Range(min=1, max=5, max_inclusive=False), remit.OneOf("a", 1), remit.NotOneOf("a"),
    remit.Contains(1), remit.Subset(1, 2), remit.AllOf(remit.Range(min=1), remit.NotOneOf(3)), remit.AnyOf(1, "a"),
    remit.Anything(), remit.Path("/srv"), remit.Url("https://a.example/v1"), remit.Email("acme.example"),
    remit.Cidr("10.0.0.0/8"), remit.Prefix("x"), remit.MaxLength(3), remit.Each(remit.OneOf("a")),
    remit.Fields(a=1, b=remit.OneOf("x").optional()),
]  # fmt: skip


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_a_constraint_is_equal_to_another_that_says_the_same(constraint: remit.Constraint) -> None:
    for twin in (pickle.loads(pickle.dumps(constraint)), copy.deepcopy(constraint), copy.copy(constraint)):  # noqa: S301 - our own
        assert twin == constraint
        assert hash(twin) == hash(constraint)
    assert constraint.optional() != constraint
    assert pickle.loads(pickle.dumps(constraint.optional())) == constraint.optional()  # noqa: S301 - our own
    assert constraint != 1
    assert len({*CONSTRAINTS, constraint}) == len(CONSTRAINTS)


def test_a_capability_is_equal_to_another_that_says_the_same() -> None:
    capability = remit.Capability("t", a=remit.Range(max=5), b="x")
    for twin in (pickle.loads(pickle.dumps(capability)), copy.deepcopy(capability)):  # noqa: S301 - our own
        assert twin == capability
        assert hash(twin) == hash(capability)
    others = [
        remit.Capability("u", a=remit.Range(max=5), b="x"),
        capability.with_other_arguments(),
        remit.Capability("t"),
    ]
    for other in (*others, "t", None):
        assert capability != other
    assert len({capability, *others}) == 4
    assert repr(capability.with_other_arguments()).endswith(".with_other_arguments()")


def test_a_constraint_tells_what_it_was_made_of() -> None:
    assert remit.Path("/srv").root == "/srv"
    assert remit.Url("https://a.example/v1").base == "https://a.example/v1"
    assert remit.Email("acme.example").domain == "acme.example"
    assert remit.Cidr("10.0.0.0/8").network == "10.0.0.0/8"
    assert remit.Prefix("x").prefix == "x"
    assert (remit.Range(min=1).minimum, remit.Range(min=1).maximum) == (1, None)
    assert remit.Each(1).constraint == remit.Exact(1)
    assert set(remit.Fields(a=1, b=remit.Anything().optional()).required) == {"a"}


@pytest.mark.parametrize(
    "options",
    [
        {"min": 1, "max_inclusive": False},
        {"max": 1, "min_inclusive": False},
        {"min": 1, "min_inclusive": 1},
        {},
    ],
)
def test_a_range_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Range(**options)


def test_a_class_is_not_taken_for_a_constraint() -> None:
    wrong: Any = remit.OneOf
    for make in (
        lambda: remit.Capability("t", a=wrong),
        lambda: remit.AllOf(wrong),
        lambda: remit.Each(wrong),
    ):
        with pytest.raises(remit.ConfigError):
            make()


def test_a_star_is_no_name_of_an_argument() -> None:
    with pytest.raises(remit.ConfigError, match="with_other_arguments"):
        remit.Capability("t", **{"*": remit.Anything()})


def test_a_private_key_is_neither_shown_nor_pickled() -> None:
    key = HolderKey.generate()
    assert key.private_jwk()["d"] not in f"{key!r} {key} {key.public!r}"
    assert key.public.thumbprint in repr(key)
    assert key.public.thumbprint in repr(key.public)
    with pytest.raises(TypeError):
        pickle.dumps(key)


# ── what is too large, too early or not there ───────────────────────────────────────────────────────────────


def test_a_token_that_would_be_too_large_is_not_issued(world: World) -> None:
    many = [remit.Capability(f"tool:{number}", text=remit.OneOf("x" * 200)) for number in range(400)]
    with pytest.raises(remit.ConfigError, match="larger"):
        world.issue(*many)


def test_a_chain_that_would_be_too_large_is_not_derived(world: World) -> None:
    many = [remit.Capability(f"tool:{number}", text=remit.OneOf("x" * 100)) for number in range(210)]
    credential = world.issue(*many, max_depth=8)

    def derive(parent: remit.Credential) -> None:
        for depth in range(7, -1, -1):
            parent = parent.delegate("b", many, max_depth=depth)

    with pytest.raises(remit.AttenuationError, match="larger"):
        derive(credential)


def test_a_start_before_1970_is_refused(world: World) -> None:
    with pytest.raises(remit.ConfigError, match="1970"):
        world.issue(not_before=datetime(1969, 12, 31, tzinfo=UTC))


def test_an_issuers_audit_sink_must_be_one_and_its_own_refusal_passes(world: World) -> None:
    for wrong in (object(), 5, [], "path"):
        with pytest.raises(remit.ConfigError):
            remit.Issuer.generate(URI, audit=wrong)  # type: ignore[arg-type]  # the mistake itself

    class Refusing:
        def record(self, record: remit.AuditRecord) -> None:
            raise remit.TokenRejected("audit_unavailable", "The book is full.")

    issuer = remit.Issuer.generate(URI, audit=Refusing(), clock=world.clock)
    assert refusal(lambda: issuer.issue("a", ["t"])).reason == "The book is full."


def test_a_function_without_a_signature_is_refused() -> None:
    class Odd:
        __name__ = "odd"
        __signature__ = "none"

        def __call__(self) -> None:
            """Do nothing."""

    odd: list[Any] = [Odd(), dict.__new__, type]
    for wrong in odd:
        try:
            inspect.signature(wrong)
        except (TypeError, ValueError):
            with pytest.raises(remit.ConfigError):
                remit.requires_capability("t")(wrong)


def test_a_guard_remembers_no_more_chains_than_it_has_room_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.verify._CACHED_BYTES", 3_000)
    monkeypatch.setattr("remit.verify._EXPIRIES", 3)
    credentials = [world.issue(limits={"tool:use": remit.Limit(max_uses=2)}) for _ in range(20)]
    for _ in range(2):
        for credential in credentials:
            assert verdict(partial(world.guard.check, credential, "tool:use", {})) == "allowed"
    assert verdict(lambda: world.guard.check(credentials[0], "tool:use", {})) == "limit_exceeded"
    world.guard.revoke(credentials[0].token_id)  # long forgotten, and revoked all the same
    assert verdict(lambda: world.guard.check(credentials[0], "tool:use", {})) == "token_revoked"
    [entry] = world.guard.revocations()
    assert entry.expires_at >= NOW + 600


# ── an error that cannot be cleaned, on every way out of a tool ─────────────────────────────────────────────


class Stubborn(Exception):
    """Shows the secret whatever is done to it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.parts = list(text)

    def __str__(self) -> str:
        return "".join(self.parts)


@remit.requires_capability("tool:use")
async def waiting(*, key: remit.Secret = remit.secret("KEY")) -> None:
    raise Stubborn(key.reveal())


@remit.requires_capability("tool:use")
def stepping(*, key: remit.Secret = remit.secret("KEY")) -> Iterator[int]:
    yield 1
    raise Stubborn(key.reveal())


@remit.requires_capability("tool:use")
async def streaming(*, key: remit.Secret = remit.secret("KEY")) -> AsyncIterator[int]:
    yield 1
    raise Stubborn(key.reveal())


async def test_an_error_that_cannot_be_cleaned_is_replaced_on_every_way_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "canary-77aa01")
    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        with pytest.raises(remit.RemitError, match="Stubborn") as first:
            await waiting()
        with pytest.raises(remit.RemitError, match="Stubborn") as second:
            list(stepping())
        with pytest.raises(remit.RemitError, match="Stubborn") as third:
            [item async for item in streaming()]
    for caught in (first, second, third):
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert [record.reason for record in world.events("outcome")] == ["Stubborn"] * 3

"""What type checkers must know about guarded functions. Never run: mypy and pyright read it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, assert_type

import remit


@remit.requires_capability("t")
def plain(symbol: str, amount: int = 1, *, note: str | None = None) -> float:
    return len(symbol) / amount if note is None else 0.0


assert_type(plain("ACME"), float)
assert_type(plain("ACME", 2, note="x"), float)
assert_type(plain(symbol="ACME", amount=2), float)


@remit.requires_capability
def bare(n: int) -> list[int]:
    return [n]


assert_type(bare(1), list[int])


@remit.requires_capability("t")
async def waiting(n: int) -> str:
    return str(n)


async def awaits(guard: remit.Guard, credential: remit.Credential) -> None:
    assert_type(await waiting(n=1), str)
    assert_type(await remit.bind_tool(waiting, guard, credential)(1), str)
    function: Callable[[int], Coroutine[Any, Any, str]] = waiting
    assert_type(await function(1), str)


@remit.requires_capability("t")
def stepping(n: int) -> Iterator[int]:
    yield n


assert_type(stepping(1), Iterator[int])
assert_type(next(stepping(1)), int)


@remit.requires_capability("t")
async def streaming(n: int) -> AsyncIterator[int]:
    yield n


assert_type(streaming(1), AsyncIterator[int])


@remit.requires_capability("t")
def with_rest(first: int, *rest: str, **extra: bool) -> tuple[str, ...]:
    return rest if extra else ()


assert_type(with_rest(1, "a", "b", c=True), tuple[str, ...])


@remit.requires_capability("t")
def secretive(n: int, *, key: remit.Secret = remit.secret("KEY")) -> str:
    return f"{n} {key.reveal()}"


assert_type(secretive(1), str)
assert_type(remit.secret("KEY"), remit.Secret)


class Desk:
    @remit.requires_capability("t")
    def method(self, n: int) -> str:
        return str(n)

    @remit.requires_capability
    def bare_method(self, n: int) -> str:
        return str(n)

    @remit.requires_capability("t")
    async def async_method(self, n: int) -> str:
        return str(n)

    @staticmethod
    @remit.requires_capability("t")
    def static_outside(n: int) -> str:
        return str(n)

    @remit.requires_capability("t")
    @staticmethod
    def static_named_inside(n: int) -> str:
        return str(n)

    @remit.requires_capability("t")
    @classmethod
    def class_named_inside(cls, n: int) -> str:
        return cls.__name__ * n

    @remit.requires_capability
    @staticmethod
    def static_inside(n: int) -> str:
        return str(n)

    @classmethod
    @remit.requires_capability("t")
    def class_outside(cls, n: int) -> str:
        return cls.__name__ * n

    @remit.requires_capability
    @classmethod
    def class_inside(cls, n: int) -> str:
        return cls.__name__ * n


assert_type(Desk().method(1), str)
assert_type(Desk().bare_method(n=1), str)
assert_type(Desk().static_outside(1), str)
assert_type(Desk.static_inside(1), str)
assert_type(Desk.class_outside(1), str)
assert_type(Desk.static_named_inside(1), str)
assert_type(Desk().static_named_inside(1), str)
assert_type(Desk.class_named_inside(1), str)
assert_type(Desk().class_named_inside(1), str)
assert_type(Desk().class_inside(1), str)


async def awaits_method() -> None:
    assert_type(await Desk().async_method(1), str)


def bind(guard: remit.Guard, credential: remit.Credential) -> None:
    bound = remit.bind_tool(plain, guard, credential)
    assert_type(bound("ACME", note="x"), float)
    assert_type(remit.bind_tool(Desk().method, guard, credential, capability="t")(n=1), str)
    assert_type(remit.capability_of(bound), str | None)


def guard_methods(guard: remit.Guard, credential: remit.Credential, given: Mapping[str, object]) -> None:
    assert_type(guard.check(credential, "t", {"n": 1}), remit.Permit)
    shown = credential.present("t", given)
    assert_type(shown, remit.Presentation)
    with guard.verify(shown, "t", given, nonce=None) as permit:
        assert_type(permit, remit.Permit)
        assert_type(permit.arguments, dict[str, Any])
    with guard.verify({"aat_chain": [], "aat_pop": ""}, "t", given):
        pass
    with guard.task(credential, task="t-1", capabilities=["t", remit.Capability("u", n=1)]) as child:
        assert_type(child, remit.Credential)
    with guard.acting_as(credential), remit.unbound():
        pass
    assert_type(guard.validate("token"), remit.Token)
    assert_type(guard.validate(["root", "leaf"]), remit.Token)
    assert_type(guard.validate(credential).capabilities, tuple[remit.Capability, ...])
    assert_type(guard.explain(credential, "t", {}), remit.Decision)
    assert_type(guard.explain(credential, "t", {}).code, remit.DenialCode | None)
    assert_type(guard.resolve_secret(credential, "KEY", tool="t").reveal(), str)
    assert_type(guard.revoke("id"), bool)
    assert_type(guard.revoke_agent("a"), bool)
    assert_type(guard.revoke_many(iter(["id"])), int)
    assert_type(guard.revocations(), list[remit.Revocation])
    assert_type(guard.purge(), int)


def constraints() -> None:
    remit.Capability(
        "t", a=1, b="x", c=True, d=None, e=0.5, f=remit.OneOf("a", 1, None), g=remit.Range(max=1_000)
    )
    assert_type(remit.OneOf("a").optional(), remit.OneOf)
    assert_type(remit.AllOf(remit.Range(min=1), remit.NotOneOf(13)).optional(), remit.AllOf)
    assert_type(remit.Capability("t", a=1).with_other_arguments(), remit.Capability)
    remit.Limit(max_uses=1, rate="1/m", budget={"amount": 2_500})


class OwnSink:
    """An audit sink needs no base class."""

    def record(self, record: remit.AuditRecord) -> None:
        """Keep it."""


def issuing(capabilities: tuple[str, ...]) -> None:
    issuer = remit.Issuer.generate("https://auth.acme.example", audit=OwnSink(), clock=lambda: 1)
    credential = issuer.issue(
        "a", capabilities, secrets={"KEY": ("t",)}, limits={"t": remit.Limit(max_uses=1)}
    )
    assert_type(credential, remit.Credential)
    assert_type(credential.delegate("b", iter(["t"])), remit.Credential)
    remit.Guard(
        trust=[issuer.anchor],
        audit=remit.MemoryAudit(),
        ledger=remit.MemoryLedger(),
        secrets={"A": "env://B"},
    )
    remit.Guard([issuer.anchor], audience=("urn:a", "urn:b"), require_chain_audience=True)


def denied(error: remit.Denied) -> None:
    assert_type(error.code, remit.DenialCode)
    assert_type(error.to_dict(), dict[str, object])


tools: list[Callable[..., object]] = [plain, waiting, stepping, Desk().method]

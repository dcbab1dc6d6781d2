"""One base class covers every failure, whatever the input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import pytest

import remit

from .junk import JUNK, outcome

URI: Final = "https://auth.acme.example"
NOW: Final = 1_704_067_500


def issuer() -> remit.Issuer:
    """An issuer whose clock stands still."""
    return remit.Issuer.generate(URI, clock=lambda: NOW)


ISSUER: Final = issuer()


def credential(**options: Any) -> remit.Credential:
    """A credential for `t` with one argument, and for anything under `u`."""
    options.setdefault("max_depth", 2)
    options.setdefault("secrets", ["KEY"])
    capabilities: list[str | remit.Capability] = [remit.Capability("t", v=remit.Range(max=5)), "u"]
    return ISSUER.issue(agent="agent", capabilities=capabilities, **options)


def guard(**options: Any) -> remit.Guard:
    """A guard that trusts `ISSUER`."""
    options.setdefault("trust", [ISSUER.anchor])
    options.setdefault("clock", lambda: NOW)
    return remit.Guard(**options)


def _enter(manager: AbstractContextManager[object]) -> None:
    with manager:
        pass


def _presentation(**changes: Any) -> dict[str, Any]:
    proved = credential()
    chain = list(proved.chain)
    return {"aat_chain": chain, "aat_pop": "a.b.c", **changes}


Call = Callable[[Any], object]

BUILD: Final[dict[str, Call]] = {
    "Issuer.generate(uri)": remit.Issuer.generate,
    "Issuer.generate(max_ttl)": lambda x: remit.Issuer.generate(URI, max_ttl=x),
    "Issuer.generate(clock)": lambda x: remit.Issuer.generate(URI, clock=x),
    "issue(agent)": lambda x: issuer().issue(agent=x, capabilities=["t"]),
    "issue(capabilities)": lambda x: issuer().issue(agent="a", capabilities=x),
    "issue(capability)": lambda x: issuer().issue(agent="a", capabilities=[x]),
    "issue(secrets)": lambda x: issuer().issue(agent="a", capabilities=["t"], secrets=x),
    "issue(secret)": lambda x: issuer().issue(agent="a", capabilities=["t"], secrets=[x]),
    "issue(secret for)": lambda x: issuer().issue(agent="a", capabilities=["t"], secrets={"KEY": x}),
    "issue(ttl)": lambda x: issuer().issue(agent="a", capabilities=["t"], ttl=x),
    "issue(session)": lambda x: issuer().issue(agent="a", capabilities=["t"], session=x),
    "issue(task)": lambda x: issuer().issue(agent="a", capabilities=["t"], task=x),
    "issue(audience)": lambda x: issuer().issue(agent="a", capabilities=["t"], audience=x),
    "issue(not_before)": lambda x: issuer().issue(agent="a", capabilities=["t"], not_before=x),
    "issue(holder)": lambda x: issuer().issue(agent="a", capabilities=["t"], holder=x),
    "issue(max_depth)": lambda x: issuer().issue(agent="a", capabilities=["t"], max_depth=x),
    "issue(limits)": lambda x: issuer().issue(agent="a", capabilities=["t"], limits=x),
    "issue(limit)": lambda x: issuer().issue(agent="a", capabilities=["t"], limits={"t": x}),
    "issue(delegate_only)": lambda x: issuer().issue(agent="a", capabilities=["t"], delegate_only=x),
    "TrustAnchor(issuer)": lambda x: remit.TrustAnchor(x, {"kty": "OKP"}),
    "TrustAnchor(jwk)": lambda x: remit.TrustAnchor(URI, x),
    "TrustAnchor(x)": lambda x: remit.TrustAnchor(URI, {"kty": "OKP", "crv": "Ed25519", "x": x}),
    "Capability(name)": remit.Capability,
    "Capability(constraint)": lambda x: remit.Capability("t", v=x),
    "Exact": remit.Exact,
    "Range(min)": lambda x: remit.Range(min=x),
    "Range(max)": lambda x: remit.Range(max=x),
    "Range(min_inclusive)": lambda x: remit.Range(min=0, min_inclusive=x),
    "Range(max_inclusive)": lambda x: remit.Range(max=0, max_inclusive=x),
    "OneOf": remit.OneOf,
    "NotOneOf": remit.NotOneOf,
    "Contains": remit.Contains,
    "Subset": remit.Subset,
    "AllOf": remit.AllOf,
    "AnyOf": remit.AnyOf,
    "Path": remit.Path,
    "Url": remit.Url,
    "Email": remit.Email,
    "Cidr": remit.Cidr,
    "Prefix": remit.Prefix,
    "MaxLength": remit.MaxLength,
    "Each": remit.Each,
    "Fields": lambda x: remit.Fields(a=x),
    "Limit(max_uses)": lambda x: remit.Limit(max_uses=x),
    "Limit(rate)": lambda x: remit.Limit(rate=x),
    "Limit(budget)": lambda x: remit.Limit(budget=x),
    "Limit(budget amount)": lambda x: remit.Limit(budget={"v": x}),
    "Guard(trust)": lambda x: remit.Guard(trust=x),
    "Guard(anchor)": lambda x: remit.Guard(trust=[x]),
    "Guard(audience)": lambda x: guard(audience=x),
    "Guard(clock)": lambda x: guard(clock=x),
    "Guard(ledger)": lambda x: guard(ledger=x),
    "Guard(secrets)": lambda x: guard(secrets=x),
    "Guard(audit)": lambda x: guard(audit=x),
    "Guard(max_ttl)": lambda x: guard(max_ttl=x),
    "Guard(fresh)": lambda x: guard(fresh=x),
    "Guard(proof_window)": lambda x: guard(proof_window=x),
    "Guard(require_proof_audience)": lambda x: guard(require_proof_audience=x),
    "Guard(require_chain_audience)": lambda x: guard(require_chain_audience=x),
    "Credential.from_token(chain)": remit.Credential.from_token,
    "Credential.from_token(list)": lambda x: remit.Credential.from_token([x]),
    "Credential.from_token(holder_key)": lambda x: remit.Credential.from_token(credential().chain, holder_key=x),
    "Credential.from_env": remit.Credential.from_env,
    "delegate(agent)": lambda x: credential().delegate(agent=x, capabilities=["u"]),
    "delegate(capabilities)": lambda x: credential().delegate(agent="b", capabilities=x),
    "delegate(capability)": lambda x: credential().delegate(agent="b", capabilities=[x]),
    "delegate(ttl)": lambda x: credential().delegate(agent="b", capabilities=["u"], ttl=x),
    "delegate(holder)": lambda x: credential().delegate(agent="b", capabilities=["u"], holder=x),
    "delegate(secrets)": lambda x: credential().delegate(agent="b", capabilities=["u"], secrets=x),
    "delegate(limits)": lambda x: credential().delegate(agent="b", capabilities=["u"], limits={"u": x}),
    "delegate(session)": lambda x: credential().delegate(agent="b", capabilities=["u"], session=x),
    "delegate(task)": lambda x: credential().delegate(agent="b", capabilities=["u"], task=x),
    "delegate(max_depth)": lambda x: credential().delegate(agent="b", capabilities=["u"], max_depth=x),
    "delegate(not_before)": lambda x: credential().delegate(agent="b", capabilities=["u"], not_before=x),
    "delegate(audience)": lambda x: credential().delegate(agent="b", capabilities=["u"], audience=x),
    "delegate(delegate_only)": lambda x: credential().delegate(agent="b", capabilities=["u"], delegate_only=x),
    "present(capability)": lambda x: credential().present(x, {"v": 1}),
    "present(arguments)": lambda x: credential().present("t", x),
    "present(argument)": lambda x: credential().present("t", {"v": x}),
    "present(argument name)": lambda x: credential().present("u", {_hashable(x): 1}),
    "present(audience)": lambda x: credential().present("t", {"v": 1}, audience=x),
    "present(nonce)": lambda x: credential().present("t", {"v": 1}, nonce=x),
    "Secrets": remit.Secrets,
    "Secrets(reference)": lambda x: remit.Secrets({"KEY": x}),
    "requires_capability": remit.requires_capability,
    "requires_capability()(function)": remit.requires_capability("t"),
    "secret": remit.secret,
    "revoke": lambda x: guard().revoke(x),
    "revoke(reason)": lambda x: guard().revoke("id", reason=x),
    "revoke_agent": lambda x: guard().revoke_agent(x),
    "revoke_many": lambda x: guard().revoke_many(x),
    "acting_as": lambda x: _enter(guard().acting_as(x)),
    "acting_as(capability)": lambda x: _enter(guard().acting_as(credential(), capability=x)),
    "acting_as(session)": lambda x: _enter(guard().acting_as(credential(), session=x)),
    "acting_as(task)": lambda x: _enter(guard().acting_as(credential(), task=x)),
    "task(credential)": lambda x: _enter(guard().task(x, task="t-1", capabilities=["u"])),
    "task(task)": lambda x: _enter(guard().task(credential(), task=x, capabilities=["u"])),
    "task(capabilities)": lambda x: _enter(guard().task(credential(), task="t-1", capabilities=x)),
    "bind_tool": lambda x: remit.bind_tool(x, guard(), credential(), capability="t"),
    "bind_tool(credential)": lambda x: remit.bind_tool(issuer, guard(), x),
    "bind_tool(guard)": lambda x: remit.bind_tool(issuer, x, credential()),
    "capability_of": remit.capability_of,
}  # fmt: skip

CHECK: Final[dict[str, Call]] = {
    "check(credential)": lambda x: guard().check(x, "t", {"v": 1}),
    "check(capability)": lambda x: guard().check(credential(), x, {"v": 1}),
    "check(arguments)": lambda x: guard().check(credential(), "t", x),
    "check(argument)": lambda x: guard().check(credential(), "t", {"v": x}),
    "check(other argument)": lambda x: guard().check(credential(), "u", {"v": x}),
    "check(argument name)": lambda x: guard().check(credential(), "u", {_hashable(x): 1}),
    "check(agent)": lambda x: guard().check(credential(), "t", {"v": 1}, agent=x),
    "check(session)": lambda x: guard().check(credential(), "t", {"v": 1}, session=x),
    "check(task)": lambda x: guard().check(credential(), "t", {"v": 1}, task=x),
    "verify(presentation)": lambda x: guard().verify(x, "t", {"v": 1}),
    "verify(chain)": lambda x: guard().verify(_presentation(aat_chain=x), "t", {"v": 1}),
    "verify(token)": lambda x: guard().verify(_presentation(aat_chain=[x]), "t", {"v": 1}),
    "verify(proof)": lambda x: guard().verify(_presentation(aat_pop=x), "t", {"v": 1}),
    "verify(tool)": lambda x: guard().verify(credential().present("t", {"v": 1}), x, {"v": 1}),
    "verify(arguments)": lambda x: guard().verify(credential().present("t", {"v": 1}), "t", x),
    "verify(argument)": lambda x: guard().verify(credential().present("t", {"v": 1}), "t", {"v": x}),
    "verify(nonce)": lambda x: guard().verify(credential().present("t", {"v": 1}), "t", {"v": 1}, nonce=x),
    "verify(session)": lambda x: guard().verify(
        credential().present("t", {"v": 1}), "t", {"v": 1}, session=x
    ),
    "verify(task)": lambda x: guard().verify(credential().present("t", {"v": 1}), "t", {"v": 1}, task=x),
    "validate(token)": lambda x: guard().validate(x),
    "validate(list)": lambda x: guard().validate([x]),
    "validate(capability)": lambda x: guard().validate(credential().chain, capability=x),
    "validate(agent)": lambda x: guard().validate(credential().chain, agent=x),
    "validate(session)": lambda x: guard().validate(credential().chain, session=x),
    "validate(task)": lambda x: guard().validate(credential().chain, task=x),
    "resolve_secret(credential)": lambda x: guard().resolve_secret(x, "KEY", tool="t"),
    "resolve_secret(name)": lambda x: guard().resolve_secret(credential(), x, tool="t"),
    "resolve_secret(tool)": lambda x: guard().resolve_secret(credential(), "KEY", tool=x),
}
EXPLAIN: Final[dict[str, Call]] = {
    "explain(credential)": lambda x: guard().explain(x, "t", {"v": 1}),
    "explain(capability)": lambda x: guard().explain(credential(), x, {"v": 1}),
    "explain(arguments)": lambda x: guard().explain(credential(), "t", x),
    "explain(argument name)": lambda x: guard().explain(credential(), "u", {_hashable(x): 1}),
    "explain(argument)": lambda x: guard().explain(credential(), "t", {"v": x}),
}


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except (TypeError, RuntimeError):
        return ("not", "hashable")
    return value


@pytest.mark.parametrize("junk", [junk for junk in JUNK if "hostile" not in junk])
@pytest.mark.parametrize("name", BUILD)
def test_nothing_but_a_remit_error_comes_out_of_what_builds(name: str, junk: str) -> None:
    """Everything derives from `remit.RemitError`."""
    assert outcome(lambda: BUILD[name](JUNK[junk])) in {"returned", "refused", "denied"}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", CHECK)
def test_what_checks_returns_or_denies(name: str, junk: str) -> None:
    """Every refusal derives from `remit.Denied`, with a stable `.code`."""
    assert outcome(lambda: CHECK[name](JUNK[junk])) in {"returned", "denied"}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", EXPLAIN)
def test_what_explains_returns(name: str, junk: str) -> None:
    """Never raises for a denial, charges nothing."""
    assert outcome(lambda: EXPLAIN[name](JUNK[junk])) == "returned"


MUST_DENY: Final = [
    *(
        (name, junk)
        for name in ("check(credential)", "verify(presentation)", "verify(chain)", "verify(token)", "verify(proof)",
                     "validate(token)", "validate(list)", "resolve_secret(credential)")
        for junk in JUNK
    ),
    *(("check(argument)", junk) for junk in JUNK if junk not in {"0", "-1", "1.5"}),
    *(("check(capability)", junk) for junk in JUNK),
    *(("verify(tool)", junk) for junk in JUNK),
    *(("resolve_secret(name)", junk) for junk in JUNK),
    *(("check(session)", junk) for junk in ("empty text", "blank", "0", "True", "bytes", "empty list", "object")),
    *(("check(task)", junk) for junk in ("empty text", "blank", "0", "True", "bytes", "empty list", "object")),
    *(("check(agent)", junk) for junk in JUNK if junk != "None"),
    *(("validate(agent)", junk) for junk in JUNK if junk != "None"),
    *(("validate(session)", junk) for junk in ("empty text", "blank", "0", "True", "bytes", "object")),
    *(("verify(nonce)", junk) for junk in JUNK if junk != "None"),
    *(
        ("check(other argument)", junk)
        for junk in ("nan", "inf", "complex", "10**5000", "bytes", "bytearray", "lone surrogate", "set", "object", "class",
                     "function", "exception", "10,000 deep", "10,000 deep object", "recursive list", "recursive dict",
                     "generator", "hostile", "list of hostile", "dict of hostile", "dict with number keys")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "junk"), MUST_DENY)
def test_what_makes_no_sense_is_denied(name: str, junk: str) -> None:
    """What has no JSON form is denied; nothing bound, nothing allowed."""
    assert outcome(lambda: CHECK[name](JUNK[junk])) == "denied"


def test_the_same_calls_with_sense_are_allowed() -> None:
    """The twin of every case above: with the right value each of these calls goes through."""
    good: dict[str, Any] = {
        "check(credential)": credential(),
        "check(capability)": "t",
        "check(arguments)": {"v": 1},
        "check(argument)": 5,
        "check(other argument)": [1, "a", None, {"b": True}],
        "check(argument name)": "v",
        "check(agent)": "agent",
        "verify(presentation)": credential().present("t", {"v": 1}),
        "verify(tool)": "t",
        "verify(arguments)": {"v": 1},
        "verify(argument)": 1,
        "validate(token)": credential().token,
        "validate(capability)": "t",
        "validate(agent)": "agent",
    }
    for name, value in good.items():
        assert outcome(partial(CHECK[name], value)) == "returned", name


@pytest.mark.parametrize("junk", ["None", "0", "text", "object", "list", "hostile", "class", "dict"])
@pytest.mark.parametrize("part", ["ledger", "secrets", "audit", "clock"])
def test_a_guard_built_with_a_part_that_is_none_never_allows_by_accident(part: str, junk: str) -> None:
    """A part that cannot do its work is refused when built or denies when asked."""
    if junk == "None":
        assert outcome(lambda: guard().check(credential(), "t", {"v": 1})) == "returned"
        return

    def build_and_check() -> object:
        judge = guard(**{part: JUNK[junk]})
        limits = {"t": remit.Limit(max_uses=5)}
        judge.check(credential(limits=limits), "t", {"v": 1})
        return judge.resolve_secret(credential(), "KEY", tool="t")

    assert outcome(build_and_check) in {"refused", "denied"}


def _raises() -> float:
    raise OSError("no clock")


@pytest.mark.parametrize(
    "clock", [lambda: None, lambda: "x", lambda: float("nan"), lambda: float("inf"), _raises]
)
def test_a_clock_that_does_not_tell_the_time_allows_nothing(clock: Any) -> None:
    """Any failure denies."""
    assert outcome(lambda: guard(clock=clock).check(credential(), "t", {"v": 1})) in {"refused", "denied"}
    assert outcome(lambda: guard().check(credential(), "t", {"v": 1})) == "returned"


@pytest.mark.parametrize("junk", JUNK)
def test_a_decorated_function_given_junk_is_denied_or_runs_on_it(junk: str) -> None:
    """Arguments that have no JSON form are denied before the tool sees them."""
    seen: list[object] = []

    @remit.requires_capability("u")
    def tool(v: object) -> str:
        seen.append(v)
        return "done"

    judge, holder = guard(), credential()
    with judge.acting_as(holder):
        result = outcome(lambda: tool(JUNK[junk]))
    assert result in {"returned", "denied"}
    assert bool(seen) == (result == "returned")
    seen.clear()
    assert outcome(lambda: tool(1)) == "denied"
    assert seen == []


def test_an_async_function_given_junk_is_denied_too() -> None:
    """No route goes around the guard."""
    seen: list[object] = []

    @remit.requires_capability("u")
    async def tool(v: object) -> str:
        seen.append(v)
        return "done"

    judge, holder = guard(), credential()

    async def run() -> None:
        with judge.acting_as(holder):
            assert await tool(1) == "done"
            for junk in ("object", "hostile", "recursive list", "nan", "10,000 deep"):
                with pytest.raises(remit.Denied):
                    await tool(JUNK[junk])

    asyncio.run(run())
    assert seen == [1]

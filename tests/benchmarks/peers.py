"""The same work done with other libraries, as their own documentation does it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import biscuit_auth
import jwt
import nacl.signing
import tenuo
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt

TOOL = "trades:propose"
ARGUMENTS = {"symbol": "ACME", "amount": 900, "note": "x"}
CLAIMS = {
    "iss": "https://auth.acme.example",
    "sub": "pricing-agent",
    "tools": {TOOL: {"symbol": ["ACME", "INIT"], "amount": {"max": 1000}, "note": "x"}},
}
Work = dict[str, Callable[[], Any]]


def bare() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return one signature and one verification of 300 bytes, with `cryptography`."""
    key, message = Ed25519PrivateKey.generate(), b"x" * 300
    public, signature = key.public_key(), key.sign(message)
    return (lambda: key.sign(message)), (lambda: public.verify(signature, message))


def pynacl() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the same with PyNaCl."""
    key, message = nacl.signing.SigningKey.generate(), b"x" * 300
    public, signature = key.verify_key, key.sign(message).signature
    return (lambda: key.sign(message)), (lambda: public.verify(message, signature))


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {**CLAIMS, "iat": now, "exp": now + 600}


def pyjwt() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return issuing and verifying a JWT of the same claims."""
    key = Ed25519PrivateKey.generate()
    token, public = jwt.encode(_claims(), key, algorithm="EdDSA"), key.public_key()
    return (
        lambda: jwt.encode(_claims(), key, algorithm="EdDSA"),
        lambda: jwt.decode(token, public, algorithms=["EdDSA"]),
    )


def joserfc() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return issuing and verifying a JWT of the same claims."""
    key = jose_jwk.OKPKey.generate_key("Ed25519")
    header, algorithms = {"alg": "Ed25519"}, ["Ed25519"]
    registry = jose_jwt.JWTClaimsRegistry(exp={"essential": True})
    token = jose_jwt.encode(header, _claims(), key, algorithms=algorithms)

    def verify() -> None:
        registry.validate(jose_jwt.decode(token, key, algorithms=algorithms).claims)

    return (lambda: jose_jwt.encode(header, _claims(), key, algorithms=algorithms)), verify


def biscuit() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return building a biscuit with three checks, and reading and authorizing it."""
    pair = biscuit_auth.KeyPair()
    source = """
        right("trades:propose");
        check if arg("symbol", $s), ["ACME", "INIT"].contains($s);
        check if arg("amount", $a), $a <= 1000;
        check if arg("note", "x");
    """

    def issue() -> Any:
        return biscuit_auth.BiscuitBuilder(source).build(pair.private_key)

    text = issue().to_base64()

    def verify() -> None:
        token = biscuit_auth.Biscuit.from_base64(text, pair.public_key)
        facts = (
            'arg("symbol", "ACME"); arg("amount", 900); arg("note", "x"); allow if right("trades:propose");'
        )
        builder = biscuit_auth.AuthorizerBuilder(facts)
        limits = builder.limits()
        limits.max_time = dt.timedelta(seconds=1)  # by default a busy machine has a valid token denied
        builder.set_limits(limits)
        builder.build(token).authorize()

    return issue, verify


def _tenuo_issue(tool: str) -> tuple[Any, Any, Callable[[], Any]]:
    issuer, holder = tenuo.SigningKey.generate(), tenuo.SigningKey.generate()

    def issue() -> Any:
        builder = tenuo.Warrant.mint_builder().capability(
            tool,
            symbol=tenuo.OneOf(["ACME", "INIT"]),
            amount=tenuo.Range.max_value(1000),
            note=tenuo.Exact("x"),
        )
        return builder.holder(holder.public_key).ttl(600).mint(issuer)

    return issuer, holder, issue


def tenuo_warrant() -> Work:
    """Return issuing a warrant, reading and verifying it, and authorizing a call with a signature."""
    issuer, holder, issue = _tenuo_issue(TOOL)
    warrant = issue()
    text = warrant.to_base64()
    authorizer = tenuo.Authorizer(trusted_roots=[issuer.public_key])
    signature = bytes(warrant.sign(holder, TOOL, ARGUMENTS, timestamp=int(time.time())))
    return {
        "issue": issue,
        "cold verify": lambda: authorizer.verify(tenuo.Warrant.from_base64(text)),
        "check": lambda: authorizer.authorize(warrant, TOOL, ARGUMENTS, signature),
        "proof sign": lambda: warrant.sign(holder, TOOL, ARGUMENTS, timestamp=int(time.time())),
    }


def tenuo_langchain(tool: Any) -> Any:
    """Return a LangChain tool under a warrant."""
    from tenuo.audit import audit_logger
    from tenuo.langchain import TenuoTool

    audit_logger.configure(enabled=False)  # it would print a line a call
    issuer, holder, issue = _tenuo_issue(tool.name)
    return TenuoTool(tool, bound_warrant=issue().bind(holder), trusted_roots=[issuer.public_key])


def tenuo_crewai(tool: Any) -> Callable[[], Any]:
    """Return a run of a CrewAI tool under a warrant: the hook that CrewAI would call, and the tool."""
    from crewai.hooks import ToolCallHookContext
    from tenuo.crewai import GuardBuilder

    issuer, holder, issue = _tenuo_issue(tool.name)
    constraints = {
        "symbol": tenuo.OneOf(["ACME", "INIT"]),
        "amount": tenuo.Range.max_value(1000),
        "note": tenuo.Exact("x"),
    }
    builder = GuardBuilder().allow(tool.name, **constraints).with_warrant(issue(), holder)
    hook = builder.with_trusted_roots([issuer.public_key]).build().as_hook()
    context = ToolCallHookContext(tool.name, dict(ARGUMENTS), tool.to_structured_tool())

    def run() -> Any:
        if hook(context) is False:
            raise PermissionError("tenuo denied what it should allow")
        return tool.run(**ARGUMENTS)

    return run


def tenuo_autogen(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function under a warrant, to make a tool of."""
    from tenuo.autogen import GuardBuilder

    issuer, holder, issue = _tenuo_issue(function.__name__)
    builder = GuardBuilder().with_warrant(issue(), holder).with_trusted_roots([issuer.public_key])
    guarded: Callable[..., Any] = builder.build().guard_tool(function)
    return guarded


def date() -> str:
    """Return today's date."""
    return dt.datetime.now(tz=dt.UTC).date().isoformat()

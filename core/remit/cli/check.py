"""`remit check`: whether a token is good, or a call would be allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import typer

from remit.cli import options
from remit.cli.command import failed
from remit.cli.credential import check_identifier, read_source
from remit.cli.deployment import loaded, open_guard
from remit.cli.output import print_json, printable, say, when
from remit.encoding import EncodingError, parse_object
from remit.errors import Denied, shown

if TYPE_CHECKING:
    from remit.decision import Decision, Token

__all__ = ["check", "read_arguments"]


def check(
    given: options.Given = None,
    *,
    capability: options.Capability = None,
    arg: options.Arguments = None,
    agent: options.AgentOption = None,
    session: options.Session = None,
    task: options.Task = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Say whether a token is good, or with arguments whether a call would be allowed.

    Without arguments it says what can be said of a token that somebody merely has: signatures, times,
    revocation, and whether it grants the capability at all; the check is recorded. With arguments it
    says what the token's holder would be told of that call; this is a question, which neither charges a
    limit nor is recorded. The exit status is 0 for good or allowed, 1 for denied.
    """
    arguments = read_arguments(arg)
    if arguments is not None and capability is None:
        raise typer.BadParameter("--arg needs --capability, which it is an argument of")
    if capability is not None:
        check_identifier(capability, "")
    bearer = {"agent": agent, "session": session, "task": task}
    source = read_source(given)
    with open_guard(loaded(config), audited=arguments is None) as guard:
        if arguments is not None and capability is not None:
            decision = guard.explain(source.chain, capability, arguments, for_holder=True, **bearer)
            if not decision.allowed:
                _denied(f"{decision.code}: {decision.reason}", decision.to_dict(), as_json=as_json)
            _print_call(decision, as_json=as_json)
            return
        try:
            token = guard.validate(source.chain, capability, **bearer)
        except Denied as denial:
            _denied(str(denial), {"allowed": False, **denial.to_dict()}, as_json=as_json)
    _print_token(token, as_json=as_json)


def _denied(text: str, members: dict[str, Any], *, as_json: bool) -> NoReturn:
    failed(text, as_json=as_json, **members)


def _print_call(decision: Decision, *, as_json: bool) -> None:
    if as_json:
        print_json(decision.to_dict())
        return
    say(f"allowed: {shown(decision.capability)} for agent {shown(decision.agent)}")


def _print_token(token: Token, *, as_json: bool) -> None:
    members = {
        "allowed": True,
        "agent": token.agent,
        "token_id": token.token_id,
        "chain": list(token.chain),
        "issuer": token.issuer,
        "holder": token.holder,
        "expires_at": int(token.expires_at.timestamp()),
        "capabilities": [capability.name for capability in token.capabilities],
        "secrets": list(token.secrets),
        "session": token.session,
        "task": token.task,
    }
    if as_json:
        print_json(members)
        return
    say(f"good: token {printable(token.token_id)} of agent {shown(token.agent)}")
    say(f"  issued by {printable(token.issuer)}, expires {when(token.expires_at.timestamp())}")
    say(f"  grants {', '.join(shown(capability.name) for capability in token.capabilities) or 'nothing'}")
    for what, name in (("session", token.session), ("task", token.task)):
        if name is not None:
            say(f"  bound to {what} {shown(name)}")
    say("  That somebody has it does not make them its holder: only a proof does.")


def read_arguments(given: list[str] | None) -> dict[str, Any] | None:
    """Return the arguments of a call by name, or None when there are none.

    A value that is JSON counts as such: a number, true, false, null, quoted text, a list or an object.
    Anything else is text.

    Raises:
        BadParameter: when one is not of the form `name=value`, or a name stands twice.
    """
    if not given:
        return None
    arguments: dict[str, Any] = {}
    for number, pair in enumerate(given, 1):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--arg number {number} is not of the form name=value")
        if name in arguments:
            raise typer.BadParameter(f"--arg gives {shown(name)} twice")
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    try:
        members = parse_object(f'{{"value":{text}}}'.encode("utf-8", "surrogateescape"))
    except EncodingError:
        return text
    return members["value"] if members.keys() == {"value"} else text

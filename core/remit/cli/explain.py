"""`remit explain`: why a call would be denied, by whom, and what would be allowed instead."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from remit.capability import SECRET_PREFIX
from remit.cli import options
from remit.cli.check import read_arguments
from remit.cli.completion import complete_capability
from remit.cli.credential import check_identifier, read_source
from remit.cli.deployment import loaded, open_guard
from remit.cli.output import print_json, printable, say
from remit.encoding import EncodingError, canonicalize
from remit.errors import shown
from remit.token import unverified_claims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from remit.capability import Capability
    from remit.constraints import Constraint
    from remit.decision import Decision
    from remit.encoding import JsonValue
    from remit.token import Claims

__all__ = ["explain"]

_MOST_COMPARED: Final = 256


def explain(
    given: options.Given = None,
    *,
    capability: Annotated[
        str,
        typer.Option(
            "--capability", metavar="NAME", help="What is to be used.", autocompletion=complete_capability
        ),
    ],
    arg: options.Arguments = None,
    agent: options.AgentOption = None,
    session: options.Session = None,
    task: options.Task = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Explain whether a call would be allowed: which token of the chain refuses it, and what it asks for.

    It is a question about what the token's holder would be told; no limit is charged and nothing is
    recorded. The exit status is 0 when the call would be allowed, 1 when not.
    """
    check_identifier(capability, "")
    arguments = read_arguments(arg) or {}
    source = read_source(given)
    bearer = {"agent": agent, "session": session, "task": task}
    nearest: dict[str, JsonValue] | None = None
    with open_guard(loaded(config), audited=False) as guard:
        decision = guard.explain(source.chain, capability, arguments, for_holder=True, **bearer)
        links = _links(source.chain)
        held = [link.tools[capability] for link in links if link.tools and capability in link.tools]
        if decision.code == "argument_denied" and len(held) == len(links):
            nearest = _nearest(held, arguments)
            if nearest is not None:
                other = guard.explain(source.chain, capability, nearest, for_holder=True, **bearer)
                nearest = nearest if other.allowed else None
    members = {
        **decision.to_dict(),
        "requires": _requires(links, capability),
        "granted": _granted(links),
        "nearest": nearest,
    }
    if as_json:
        print_json(members)
    else:
        _print(decision, members)
    if not decision.allowed:
        raise typer.Exit(1)


def _links(chain: Sequence[str]) -> list[Claims]:
    """Return what each token says; nothing when one is malformed, of which the decision speaks already."""
    try:
        return [unverified_claims(token)[1] for token in chain]
    except EncodingError:
        return []


def _granted(links: Sequence[Claims]) -> list[str]:
    """Return the capabilities that every link grants."""
    leaf = (links[-1].tools if links else None) or {}
    names = [name for name in leaf if all(name in (link.tools or ()) for link in links)]
    return sorted(name for name in names if not name.startswith(SECRET_PREFIX))


def _requires(links: Sequence[Claims], name: str) -> list[dict[str, object]]:
    """Return what each link asks of each argument."""
    found: list[dict[str, object]] = []
    for position, link in enumerate(links):
        capability = (link.tools or {}).get(name)
        if capability is None:
            continue
        for argument, constraint in capability.constraints.items():
            found.append(
                {
                    "link": position,
                    "argument": argument,
                    "must_be": constraint.describe(),
                    "optional": constraint.is_optional,
                }
            )
    return found


def _nearest(held: Sequence[Capability], arguments: Mapping[str, Any]) -> dict[str, JsonValue] | None:
    """Return arguments close to these that every link may allow; the guard is asked before they are shown."""
    near = dict(arguments)
    for capability in held:
        if not capability.other_arguments:
            near = {name: value for name, value in near.items() if name in capability.constraints}
    for capability in reversed(held):  # the leaf is the narrowest
        for name, constraint in capability.constraints.items():
            if name in near or not constraint.is_optional:
                value = _closest(constraint, near.get(name))
                if value is None:
                    return None
                near[name] = value
    return near


def _closest(constraint: Constraint, value: JsonValue) -> JsonValue:
    """Return the value closest to this one that a simple constraint allows; None when it is not simple."""
    from remit.constraints import AllOf, Exact, OneOf, Range

    if value is not None and constraint.check(value):
        return value
    match constraint:
        case Exact():
            return constraint.value
        case OneOf():
            return _closest_of(constraint.values, value)
        case Range() if isinstance(value, int | float):
            bounds = [bound for bound in (constraint.minimum, constraint.maximum) if bound is not None]
            return _closest_number(bounds, value)
        case AllOf():
            for clause in constraint.clauses:
                value = _closest(clause, value)
            return value
        case _:
            return None


def _closest_of(values: Sequence[JsonValue], value: JsonValue) -> JsonValue:
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if isinstance(value, int | float) and numbers:
        return _closest_number(numbers, value)
    texts = [one for one in values if isinstance(one, str)][:_MOST_COMPARED]
    if isinstance(value, str):
        close = difflib.get_close_matches(value[:_MOST_COMPARED], texts, n=1, cutoff=0)
        return close[0] if close else values[0]
    return values[0]


def _closest_number(numbers: Sequence[float], value: float) -> float:
    return min(numbers, key=lambda number: abs(number - value))


def _print(decision: Decision, members: Mapping[str, Any]) -> None:
    if decision.allowed:
        say(f"allowed: {shown(decision.capability)} for agent {shown(decision.agent)}")
    else:
        say(f"denied: {decision.code}: {decision.reason}")
    if decision.link is not None and decision.token_id is not None:
        say(
            f"refused by link {decision.link} of the chain (0 is the root):"
            f" token {printable(decision.token_id)} of agent {shown(decision.agent)}"
        )
    if decision.code == "capability_missing":
        names: list[str] = members["granted"]
        close = difflib.get_close_matches(
            str(decision.capability)[:_MOST_COMPARED], names[:_MOST_COMPARED], n=1
        )
        say(f"granted by every link: {', '.join(map(shown, names)) or 'nothing'}")
        if close:
            say(f"did you mean {shown(close[0])}?")
    elif members["requires"]:
        say(f"what the chain asks of {shown(decision.capability)}:")
        for one in members["requires"]:
            optional = " (or left out)" if one["optional"] else ""
            must_be = f"{printable(one['must_be'])}{optional}"
            say(f"  link {one['link']}: {shown(one['argument'])} must be {must_be}")
    if members["nearest"] is not None:
        pairs = [f"--arg {_spelled(name, value)}" for name, value in members["nearest"].items()]
        say(f"the nearest call that is allowed: {' '.join(pairs) or 'no arguments'}")


def _spelled(name: str, value: JsonValue) -> str:
    """Return an argument as `--arg` takes it, for a shell."""
    pair = f"{name}={value}"
    if read_arguments([pair]) != {name: value}:  # text that would be read as JSON, or no text
        pair = f"{name}={canonicalize(value).decode('utf-8')}"
    return shlex.quote(printable(pair))

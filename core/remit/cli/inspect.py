"""`remit inspect`: what a chain says, link by link. It needs no key, and believes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from remit.capability import SECRET_PREFIX
from remit.cli import options
from remit.cli.credential import read_source
from remit.cli.narrowing import changes, describe_limit, tools_of_secret
from remit.cli.output import console, plural, print_json, printable, say, when
from remit.encoding import EncodingError
from remit.errors import TokenRejected, shown
from remit.token import unverified_claims
from remit.verify import check_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.tree import Tree

    from remit.capability import Capability
    from remit.cli.narrowing import Change
    from remit.token import Claims, Envelope

__all__ = ["inspect"]

_NOT_VERIFIED: Final = (
    "the signatures, nor that each token was derived from the one before",
    "that the issuer is trusted",
    "the times, by this machine's or any clock",
    "that nothing was revoked",
    "that whoever has it holds its key",
)
_MAX_LINES: Final = 40
_SAID: Final = {
    "capability_removed": "{what} removed",
    "capability_added": "{what} added",
    "secret_removed": "secret {what} removed",
    "secret_added": "secret {what} added",
    "secret_narrowed": "secret {what}: from {before} -> from {after}",
    "argument": "{capability}: {what} {before} -> {after}",
    "other_arguments": "{capability}: other arguments {before} -> {after}",
    "limit": "{capability}: limited to {after}",
    "delegate_only": "{what}: to pass on and not to use",
    "expiry": "expires {before} -> {after}",
    "not_before": "not before {after}",
    "session": "bound to session {what}",
    "task": "bound to task {what}",
    "audience": "for {after} alone",
    "depth": "may be delegated {before} -> {after} times",
}
"""Each kind of change, in words."""


def inspect(given: options.Given = None, *, as_json: options.Json = False) -> None:
    """Show a chain as a tree of what each link narrowed. No key is needed, and nothing is verified."""
    chain = read_source(given).chain
    check_size(chain)
    links: list[tuple[Envelope, Claims]] = []
    for position, token in enumerate(chain):
        try:
            links.append(unverified_claims(token))
        except EncodingError as error:
            raise TokenRejected("token_malformed", f"The token {error}.", link=position) from None
    if as_json:
        print_json(
            {
                "verified": False,
                "not_verified": list(_NOT_VERIFIED),
                "links": [
                    _members(position, envelope, claims, links[position - 1][1] if position else None)
                    for position, (envelope, claims) in enumerate(links)
                ],
            }
        )
        return
    _print(links)


def _members(position: int, envelope: Envelope, claims: Claims, parent: Claims | None) -> dict[str, Any]:
    tools = claims.tools or {}
    secrets = {name: tool for name, tool in tools.items() if name.startswith(SECRET_PREFIX)}
    return {
        "link": position,
        "token_id": claims.id,
        "agent": claims.agent_name,
        "issuer": claims.issuer,
        "kid": envelope.header.kid,
        "holder": claims.holder.thumbprint,
        "issued_at": claims.issued_at,
        "not_before": claims.not_before,
        "expires_at": claims.expires_at,
        "may_be_delegated": max(0, claims.max_depth - claims.depth),
        "session": claims.session,
        "task": claims.task,
        "audience": None if claims.audience is None else list(claims.audience),
        "capabilities": {name: tool.to_json() for name, tool in tools.items() if name not in secrets},
        "secrets": {
            name.removeprefix(SECRET_PREFIX): tools_of_secret(tool) for name, tool in secrets.items()
        },
        "limits": {name: limit.to_json() for name, limit in claims.limits.items()},
        "delegate_only": list(claims.delegate_only),
        "exchanged": list(claims.exchanged),
        "narrowed": None if parent is None else [change.to_dict() for change in changes(parent, claims)],
    }


def _print(links: list[tuple[Envelope, Claims]]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    envelope, root = links[0]
    kid = "" if envelope.header.kid is None else f", key {shown(envelope.header.kid)}"
    tree = Tree(Text(f"{plural(len(links), 'token')}, as issued by {printable(root.issuer)}{kid}", "bold"))
    branch, parent = tree, None
    for position, (_, claims) in enumerate(links):
        branch = branch.add(
            Text(f"{position}: agent {shown(claims.agent_name)}, token {printable(claims.id)}", "bold")
        )
        _add(branch, _facts(claims, parent))
        if parent is None:
            _add(branch.add(Text("grants")), _grants(claims))
        else:
            lines = [_told(change) for change in changes(parent, claims)]
            _add(branch.add(Text("narrowed")), iter(lines or ["nothing; it says what its parent says"]))
        parent = claims
    console().print(tree)
    say("Not verified:")
    for what in _NOT_VERIFIED:
        say(f"  - {what}")
    say("`remit check` verifies all but the last.")


def _add(branch: Tree, lines: Iterator[str]) -> None:
    """Add lines to a branch, not more than anybody reads."""
    from rich.text import Text

    left_out = 0
    for number, line in enumerate(lines):
        if number < _MAX_LINES:
            branch.add(Text(line))
        else:
            left_out += 1
    if left_out:
        branch.add(Text(f"... and {left_out} more; --json shows all"))


def _facts(claims: Claims, parent: Claims | None) -> Iterator[str]:
    yield f"from {when(claims.issued_at)} to {when(claims.expires_at)}"
    yield f"holder key {claims.holder.thumbprint}"
    left = claims.max_depth - claims.depth
    yield f"may be delegated {plural(left, 'time')}" if left > 0 else "may not be delegated"
    if parent is not None:
        return  # the rest is what it narrowed
    if claims.not_before is not None:
        yield f"not before {when(claims.not_before)}"
    for what, name in (("session", claims.session), ("task", claims.task)):
        if name is not None:
            yield f"bound to {what} {shown(name)}"
    if claims.audience is not None:
        yield f"for {', '.join(map(shown, claims.audience))} alone"
    if claims.exchanged:
        yield f"revoked with what it was exchanged for: {', '.join(map(shown, claims.exchanged))}"


def _grants(claims: Claims) -> Iterator[str]:
    for name, capability in (claims.tools or {}).items():
        if name.startswith(SECRET_PREFIX):
            tools = ", ".join(map(shown, tools_of_secret(capability)))
            yield printable(f"secret {shown(name.removeprefix(SECRET_PREFIX))}, from {tools or 'nowhere'}")
            continue
        held_back = ", to pass on and not to use" if name in claims.delegate_only else ""
        yield f"{shown(name)}{held_back}: {printable(_described(capability))}"
        if name in claims.limits:
            yield printable(f"{shown(name)}: {describe_limit(claims.limits[name])}")
    if not claims.tools:
        yield "nothing"


def _described(capability: Capability) -> str:
    parts = [
        f"{shown(name)} {constraint.describe()}{' (or left out)' if constraint.is_optional else ''}"
        for name, constraint in capability.constraints.items()
    ]
    if capability.other_arguments:
        parts.append("any other arguments" if parts else "any arguments")
    return "; ".join(parts) or "no arguments"


def _told(change: Change) -> str:
    """Return a change as a line."""
    before, after = (printable(one or "") for one in (change.before, change.after))
    if change.kind in {"expiry", "not_before"}:
        before, after = when(int(before or 0)), when(int(after))
    text = _SAID[change.kind].format(
        what=shown(change.what), capability=shown(change.capability), before=before, after=after
    )
    wider = (
        "" if change.widens is None else f"  WIDER than its parent, so a guard refuses it: {change.widens}"
    )
    return f"{text}{printable(wider)}"

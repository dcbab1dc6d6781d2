"""`remit revoke`: take back tokens, the tokens of an agent, or everything of a key, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli import options
from remit.cli.completion import complete_agent, complete_key
from remit.cli.credential import check_identifier, read_source
from remit.cli.deployment import asked, loaded, open_operator
from remit.cli.output import note, print_json, printable, say
from remit.errors import shown

if TYPE_CHECKING:
    from remit.config import Config
    from remit.guard import Guard
    from remit.ledger import Ledger

__all__ = ["revoke"]


@dataclass(frozen=True, slots=True)
class _Subject:
    kind: str
    name: str


_Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TOKEN_ID]...", help="Identifiers of tokens.", show_default=False),
]
_Files = Annotated[
    list[str] | None,
    typer.Option(
        "--token",
        metavar="FILE",
        help="Revoke the last token in this file, or on standard input (-); may be repeated.",
    ),
]
_Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        metavar="NAME",
        help="Revoke all tokens issued to this agent up to now; may be repeated.",
        autocompletion=complete_agent,
    ),
]
_Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="KID",
        help="Revoke a key for ever, a holder's or an issuer's; may be repeated.",
        autocompletion=complete_key,
    ),
]


def revoke(
    token_ids: _Ids = None,
    *,
    token: _Files = None,
    agent: _Agents = None,
    key: _Keys = None,
    reason: options.Reason = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Revoke tokens and with them everything that was derived from them. It can be done twice.

    The exit status is 0 also for what was revoked already; the output says which of the two it was.
    """
    subjects = _subjects(token_ids or [], token or [], agent or [], key or [])
    policy = loaded(config)
    with open_operator(policy) as (guard, ledger):
        doubts = [_doubt(policy, ledger, subject) for subject in subjects]
        results = [(subject, _revoke(guard, subject, reason)) for subject in subjects]
    if as_json:
        done = [{subject.kind: subject.name, "revoked": new} for subject, new in results]
        print_json({**(done[0] if len(done) == 1 else {}), "revoked": any(new for _, new in results),
                    "results": done})  # fmt: skip
    else:
        for subject, new in results:
            kind = subject.kind.partition("_")[0]
            name = shown(subject.name) if subject.kind == "agent" else printable(subject.name)
            say(f"{kind} {name}: {'revoked' if new else 'was revoked already'}")
    for doubt in filter(None, doubts):
        note(doubt)


def _subjects(token_ids: list[str], files: list[str], agents: list[str], keys: list[str]) -> list[_Subject]:
    for name in (*token_ids, *agents, *keys):
        check_identifier(name, "; give its file with --token")
    subjects = [_Subject("token_id", name) for name in token_ids]
    subjects += [_Subject("token_id", read_source(file).credential().token_id) for file in files]
    subjects += [_Subject("agent", name) for name in agents]
    subjects += [_Subject("key", name) for name in keys]
    if not subjects:
        raise typer.BadParameter("name what to revoke: a TOKEN_ID, --token, --agent or --key")
    return list(dict.fromkeys(subjects))


def _revoke(guard: Guard, subject: _Subject, reason: str | None) -> bool:
    match subject.kind:
        case "agent":
            return guard.revoke_agent(subject.name, reason=reason)
        case "key":
            return guard.revoke_key(subject.name, reason=reason)
        case _:
            return guard.revoke(subject.name, reason=reason)


def _doubt(config: Config, ledger: Ledger, subject: _Subject) -> str | None:
    """Return why a name may be mistaken: it is revoked all the same."""
    if subject.kind == "token_id" and asked(ledger.token, subject.name) is None:
        return (
            f"the ledger knows no issued token {shown(subject.name)}: right for one that was delegated or"
            " issued elsewhere, and else a slip"
        )
    if subject.kind == "agent" and config.agents and subject.name not in config.agents:
        from remit.config.source import nearest

        close = nearest(subject.name, config.agents)
        hint = "" if close is None else f"; did you mean {shown(close)}?"
        return f"the policy file has no agent {shown(subject.name)}{hint}"
    return None

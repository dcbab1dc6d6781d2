"""`remit revocations` and `remit tokens`: what the ledger knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from remit.cli import options
from remit.cli.completion import complete_agent
from remit.cli.deployment import asked, loaded, open_ledger, open_operator
from remit.cli.output import note, plural, print_json, print_table, printable, say, when
from remit.ledger.base import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.ledger import Ledger, LiveToken, Revocation

__all__ = ["revocations", "revoked_among", "tokens"]

_SHOWN: Final = 50
_STEP: Final = 500


def revocations(
    *,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"How many at most; by default {_SHOWN} for people, and all with --json.",
        ),
    ] = None,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove what has been expired for more than a day, and say how much."),
    ] = False,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """List what is revoked, newest first; or with --purge remove from the ledger what is of no more use."""
    policy = loaded(config)
    if purge:
        with open_operator(policy) as (guard, _):
            removed = guard.purge()
        if as_json:
            print_json({"purged": removed})
        else:
            say(f"{removed} {'entry' if removed == 1 else 'entries'} removed")
        return
    with open_ledger(policy) as ledger:
        wanted = limit if as_json or limit is not None else _SHOWN
        found = asked(ledger.revocations, None if wanted is None else wanted + 1)
    shown_here = found[:wanted]
    if as_json:
        print_json([entry.to_dict() for entry in shown_here])
        return
    if not found:
        say("nothing is revoked")
        return
    print_table(("revoked", "what", "reason"), map(_row, shown_here))
    if len(found) > len(shown_here):
        note(f"there are more than the newest {len(shown_here)}; --limit shows more")


def _row(entry: Revocation) -> tuple[str, ...]:
    kind, _, name = entry.subject.partition(":")
    return when(entry.revoked_at), f"{kind} {printable(name)}", printable(entry.reason or "")


def tokens(
    *,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent", metavar="NAME", help="Those of this agent alone.", autocompletion=complete_agent
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 100,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """List the tokens that were issued and have not expired, those that live longest first.

    The ledger holds who has a token and until when, never the token. What was delegated is not listed.
    """
    with open_ledger(loaded(config)) as ledger:
        found = _live(ledger, agent, limit)
        revoked = revoked_among(ledger, {subject for token in found for subject in token.subjects})
    entries = [(token, _is_revoked(token, revoked)) for token in found]
    if as_json:
        print_json([{**token.to_dict(), "revoked": is_revoked} for token, is_revoked in entries])
        return
    if not entries:
        say("no live token")
        return
    rows = [
        (printable(token.token_id), printable(token.agent), when(token.expires_at), "revoked" if gone else "")
        for token, gone in entries
    ]
    print_table(("token", "agent", "expires", ""), rows)
    if len(found) == limit:
        note(f"{plural(limit, 'token')} shown; there may be more, see --limit")


def _live(ledger: Ledger, agent: str | None, limit: int) -> list[LiveToken]:
    now = time.time()
    found: list[LiveToken] = []
    last: LiveToken | None = None
    while len(found) < limit:
        page = asked(ledger.tokens, now, limit=_STEP, before=last)
        found += [token for token in page if agent is None or token.agent == agent]
        if len(page) < _STEP:
            break
        last = page[-1]
    return found[:limit]


def _is_revoked(token: LiveToken, revoked: dict[str, float | None]) -> bool:
    named = [revoked[subject] for subject in token.subjects if subject in revoked]
    return any(until is None or token.issued_at <= until for until in named)


def revoked_among(ledger: Ledger, subjects: Iterable[str]) -> dict[str, float | None]:
    """Return which of these subjects are revoked; for an agent, up to which time of issue."""
    wanted, since = set(subjects), 0
    found: dict[str, float | None] = {}
    while wanted:
        page = asked(ledger.changes, since)
        found.update({entry[0]: entry[2] for entry in page.entries if entry[0] in wanted})
        if len(page.entries) < PAGE:
            break
        since = page.position.number
    return found

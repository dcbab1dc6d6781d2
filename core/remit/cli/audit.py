"""`remit audit`: what was recorded, and whether the record is whole."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from remit.cli import options
from remit.cli.completion import complete_agent
from remit.cli.deployment import loaded
from remit.cli.output import note, plural, print_json, print_json_line, printable, say, when
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remit.anchor import TrustAnchor
    from remit.audit import LogEntry, LogReport
    from remit.config import Config

__all__ = ["tail", "verify"]

_OVERLAP: Final = 1000
"""Lines that are looked at twice when following begins, so that none written meanwhile is missed."""

_Log = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]", help="The audit log; by default that of the policy file.", show_default=False
    ),
]


def verify(
    path: _Log = None,
    *,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(
            "--anchor",
            metavar="FILE",
            help="Trust anchor of the key that signs checkpoints; may be repeated.",
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect", metavar="SEQ:HASH", help="The position of an earlier report, noted elsewhere."
        ),
    ] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Verify an audit log: that no line was removed, altered, moved, repeated or cut off at the end.

    With a PATH the policy file is not needed. The exit status is 1 when anything is wrong.
    """
    from remit.audit import verify_log

    policy = loaded(config) if path is None or config is not None else None
    log = _path_of(path, policy)
    anchors = _anchors(anchor, policy)
    report = verify_log(log, anchors, expect=expect)
    if as_json:
        print_json({**report.to_dict(), "signatures_checked": bool(anchors)})
    else:
        _print_report(report, signed=bool(anchors))
    if not report.ok:
        raise typer.Exit(1)


def _path_of(path: Path | None, config: Config | None) -> Path:
    found = config.audit_path if path is None and config is not None else path
    if found is None:
        raise ConfigError("the policy file has no [audit] path; give the path of a log")
    return found


def _anchors(files: list[Path] | None, config: Config | None) -> list[TrustAnchor]:
    """Return whose checkpoints count: those that were named, or else the policy file's own."""
    from remit.anchor import TrustAnchor

    if files:
        return [TrustAnchor.load(file) for file in files]
    settings = None if config is None else config.tables.audit
    if config is None or settings is None or settings.key is None:
        return []
    from remit.issue import Issuer

    reference = settings.passphrase
    passphrase = None if reference is None else config.resolve(reference)
    signer = Issuer.load(config.source.folder / settings.key, passphrase=passphrase)
    return list(dict.fromkeys([signer.anchor, *config.anchors()]))


def _print_report(report: LogReport, *, signed: bool) -> None:
    for finding in report.findings:
        say(f"{printable(str(finding), limit=500)} [{finding.code}]")
    if report.more:
        say(f"and {report.more} more")
    if not report.ok:
        note(f"the audit log {shown(report.path)} is not as it was written")
        return
    say(
        f"ok: {plural(report.lines, 'record')} in {plural(report.files, 'file')},"
        f" from {report.first} to {report.last}"
    )
    say(f"position {report.position}: noted elsewhere, --expect finds a log that was cut back to before it")
    if report.adopted or report.torn:
        say(f"after a crash, {report.adopted} were taken over, and {report.torn} unfinished put aside")
    if report.checkpoint is not None:
        mark = report.checkpoint
        say(f"signed up to {mark.seq} by {printable(mark.issuer)}, at {when(mark.at)}")
    elif not signed:
        say(
            "signatures were not looked at (see --anchor); whoever can write the log could have"
            " rewritten all of it"
        )


def tail(
    path: _Log = None,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many records.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is recorded from now on.")
    ] = False,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied or failed.")] = False,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent", metavar="NAME", help="Only what concerns this agent.", autocompletion=complete_agent
        ),
    ] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Show the last records of an audit log. It is not verified.

    With --json and --follow there is one JSON document a line.
    """

    def is_wanted(entry: LogEntry) -> bool:
        members = entry.members
        return entry.problem is not None or (
            (not denied or members.get("allowed") is False)
            and (agent is None or members.get("agent") == agent)
        )

    log = _path_of(path, None if path is not None else loaded(config))
    every = not denied and agent is None
    entries = _entries(log, lines, is_wanted, follow=follow, every=every)
    if as_json and not follow:
        print_json([_members(entry) for entry in entries])
        return
    try:
        for entry in entries:
            if as_json:
                print_json_line(_members(entry))
            else:
                failed = entry.record is not None and not entry.record.allowed
                say(_line(entry), colour="red" if failed else None)
    except KeyboardInterrupt:
        if not follow:
            raise  # nothing that is meant to end in this way


def _entries(
    log: Path, count: int, is_wanted: Callable[[LogEntry], bool], *, follow: bool, every: bool
) -> Iterator[LogEntry]:
    """Yield the last `count` entries that are wanted, and then those that are written from now on."""
    from remit.audit import read_log

    if every:
        yield from read_log(log, last=count, follow=follow)
        return
    newest: deque[LogEntry] = deque(maxlen=count)
    seen = 0
    for entry in read_log(log):
        seen = max(seen, entry.seq or 0)
        if is_wanted(entry):
            newest.append(entry)
    yield from newest
    if follow:
        for entry in read_log(log, last=_OVERLAP, follow=True):
            if entry.seq is not None and entry.seq > seen and is_wanted(entry):
                yield entry


def _members(entry: LogEntry) -> dict[str, Any]:
    problem = {} if entry.problem is None else {"problem": entry.problem}
    return {"seq": entry.seq, **entry.members, **problem}


def _line(entry: LogEntry) -> str:
    if entry.problem is not None or entry.record is None:
        return f"?  {printable(entry.problem or 'no record')}"
    record = entry.record
    verdict = "ok" if record.allowed else "FAILED" if record.event == "outcome" else "DENIED"
    parts = [when(record.at), f"{record.event:<10}", verdict]
    parts += [shown(name) for name in (record.agent, record.capability, record.subject) if name is not None]
    if record.token_id is not None:
        parts.append(f"token {printable(record.token_id)}")
    if record.code is not None or record.reason is not None:
        parts.append(printable(": ".join(text for text in (record.code, record.reason) if text is not None)))
    return "  ".join(parts)

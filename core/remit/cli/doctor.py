"""`remit doctor`: what is wrong with a deployment."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from remit.cli import options
from remit.cli.output import plural, print_json, printable, say

__all__ = ["doctor"]


def doctor(
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Look over a deployment: permissions, keys, ledger, clock, secrets, and grants that are too broad.

    Nothing is changed. The exit status is 1 when there is an error, with --strict also for a warning.
    """
    from remit.config.doctor import examine

    findings = examine(config)
    count = Counter(finding.severity for finding in findings)
    ok = not count["error"] and not (strict and count["warning"])
    if as_json:
        print_json({"ok": ok, "findings": [finding.to_dict() for finding in findings]})
    else:
        for finding in findings:
            say(f"{finding.severity}: {finding.id}: {printable(finding.where, limit=300)}: "
                f"{printable(finding.what, limit=500)}")  # fmt: skip
            say(f"    {printable(finding.remedy, limit=500)}")
        told = ", ".join(plural(count[severity], severity) for severity in ("error", "warning", "note"))
        say(told if findings else "nothing is wrong")
    if not ok:
        raise typer.Exit(1)

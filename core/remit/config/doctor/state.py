"""What a deployment runs on: its clock, its ledger, the values its references stand for, its audit file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from remit.config.doctor.effects import effect_of
from remit.config.doctor.files import OTHERS_READ, OTHERS_WRITE, examine_folder, mode_of
from remit.config.settings import ANY, SCHEMES
from remit.errors import Denied, RemitError, shown
from remit.standing import DEFAULT_FRESH

if TYPE_CHECKING:
    from pathlib import Path

    from remit.config.doctor.rules import Report
    from remit.config.model import Config
    from remit.ledger import Ledger
    from remit.names import Clock

__all__ = ["examine_audit", "examine_ledger", "examine_references", "reveal"]

_APART: Final = 5
"""Seconds by which two clocks may differ before it matters."""
_SHORT_TOKEN: Final = 16
_REMOTE: Final = frozenset({"redis", "rediss", "postgresql", "postgres"})
_PASSWORD: Final = re.compile(r"[?&](?:password|sslpassword)=[^&]", re.IGNORECASE)
_SECRET_WORDS: Final = re.compile(
    r"passw|passphrase|secret|token|credential|api_?key|private_?key|(?:^|_)(?:pin|pwd|cvv|ssn|otp)(?:_|$)",
    re.IGNORECASE,
)


def reveal(config: Config, reference: str, place: tuple[str, ...], rule: str, report: Report) -> str | None:
    """Return what a reference stands for, or None after reporting why it cannot be had."""
    try:
        return config.resolve(reference)
    except RemitError as error:
        why = error.reason if isinstance(error, Denied) else str(error)
    what = f"{place[-1]} cannot be had: {why}"
    report.add(rule, config.source.where(*place), what)
    return None


def examine_references(config: Config, report: Report) -> None:
    """Look whether every secret can be had, and whether the admin token is one."""
    for name, reference in config.references.items():
        reveal(config, reference, ("secrets", name), "R070-secret-unresolvable", report)
    if config.service.admin_token is not None:
        place = ("service", "admin_token")
        token = reveal(config, config.service.admin_token, place, "R072-setting-unresolvable", report)
        if token is not None and len(token) < _SHORT_TOKEN:
            what = "what the reference stands for is too short to be safe from guessing"
            report.add("R071-admin-token-short", config.source.where(*place), what)


def examine_ledger(config: Config, clock: Clock, report: Report) -> None:
    """Look at the ledger: whether it answers, what it forgets, and who else can get at it."""
    where = config.source.where("ledger", "url")
    stated = config.tables.ledger_url
    try:
        url = config.ledger_url()
    except RemitError as error:
        report.add("R072-setting-unresolvable", where, str(error))
        return
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        report.add("R031-ledger-not-durable", where, "it is in memory")
    if scheme == "sqlite" and not _examine_file(config.source.folder / unquote(rest[1:]), report):
        return
    if scheme in _REMOTE:
        _examine_bounds(config, report)
    if stated.partition("://")[0] not in SCHEMES:
        _examine_password(url, where, report)
    try:
        ledger = config.ledger()
        try:
            ledger.position()
            _examine_server(ledger, clock, where, report)
        finally:
            ledger.close()
    except Exception as error:  # noqa: BLE001 - a driver raises what it likes, and may quote the password
        why = str(error) if isinstance(error, RemitError) else f"it failed with {type(error).__name__}"
        report.add("R030-ledger-unreachable", where, why)


def _examine_file(path: Path, report: Report) -> bool:
    """Look at a SQLite file; whether it is there, and opening it will not make it."""
    if not path.parent.is_dir():
        report.add("R030-ledger-unreachable", str(path), "its folder is not there")
        return False
    examine_folder(path, "R005-ledger-file-open", report)
    mode = mode_of(path)
    if mode is None and not path.exists():
        report.add("R035-ledger-absent", str(path), "it is not there")
        return False
    if mode is not None and mode & OTHERS_WRITE:
        report.add("R005-ledger-file-open", str(path), f"its mode is {mode:04o}")
    return True


def _examine_password(url: str, where: str, report: Report) -> None:
    try:
        password = urlsplit(url).password
    except ValueError:
        return  # opening it says what is wrong
    if password or _PASSWORD.search(url):
        report.add("R033-ledger-password", where, "the URL holds a password")


def _examine_bounds(config: Config, report: Report) -> None:
    fresh = config.tables.fresh
    bounds: Mapping[str, int] = fresh if isinstance(fresh, Mapping) else {} if fresh is None else {ANY: fresh}
    names = {one.name for agent in config.agents.values() for one in agent.capabilities}
    for name in sorted(names | config.capabilities.keys() | (bounds.keys() - {ANY})):
        bound = bounds.get(name, bounds.get(ANY, DEFAULT_FRESH))
        if bound > DEFAULT_FRESH and effect_of(name, config.capabilities) is not None:
            at = ("ledger", "fresh", name) if name in bounds else ("ledger", "fresh")
            if name in config.capabilities and config.capabilities[name].fresh is not None:
                at = ("capabilities", name, "fresh")
            what = f"{shown(name)} for {bound} seconds"
            report.add("R036-stale-effects", config.source.where(*at), what)


def _examine_server(ledger: Ledger, clock: Clock, where: str, report: Report) -> None:
    """Ask an engine that offers it what it thinks of its own settings, and what time it is."""
    examine: Any = getattr(ledger, "examine", None)
    if callable(examine):
        for complaint in cast("list[str]", examine()):
            report.add("R032-ledger-setting", where, str(complaint))
    server_time: Any = getattr(ledger, "server_time", None)
    if callable(server_time):
        apart = cast("float", server_time()) - clock()
        if abs(apart) > _APART:
            way = "ahead of" if apart > 0 else "behind"
            what = f"the ledger's clock is {abs(apart):.0f} seconds {way} this machine's"
            report.add("R022-clock-apart", where, what)


def examine_audit(config: Config, report: Report) -> None:
    """Look at where records go, who can get at them, and what they show."""
    settings, path = config.tables.audit, config.audit_path
    if settings is None or path is None:
        report.add("R080-audit-missing", config.source.name, "there is no [audit]")
        return
    if settings.key is None:
        report.add("R081-audit-unsigned", config.source.where("audit"), "there is no key")
    elif settings.key == config.tables.issuer.key:
        at = config.source.where("audit", "key")
        report.add("R084-audit-signed-by-issuer", at, "it is the issuer's")
    _examine_audit_file(path, report)
    for name, arguments in (settings.arguments or {}).items():
        for i, argument in enumerate(arguments):
            if _SECRET_WORDS.search(argument):
                at = config.source.where("audit", "arguments", name, i)
                report.add("R083-audit-shows-secrets", at, f"{shown(argument)} of {shown(name)}")


def _examine_audit_file(path: Path, report: Report) -> None:
    if path.is_dir():
        report.add("R082-audit-unwritable", str(path), "it is a folder")
        return
    if not path.parent.is_dir():
        report.add("R082-audit-unwritable", str(path), "its folder is not there")
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        report.add("R082-audit-unwritable", str(path), "this user may not write it")
    examine_folder(path, "R007-audit-file-open", report)
    mode = mode_of(path)
    if mode is not None and mode & OTHERS_WRITE:
        report.add("R007-audit-file-open", str(path), f"its mode is {mode:04o}")
    elif mode is not None and mode & OTHERS_READ:
        report.add("R008-audit-file-readable", str(path), f"its mode is {mode:04o}")

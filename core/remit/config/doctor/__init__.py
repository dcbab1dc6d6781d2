"""`remit doctor`: what is wrong with a deployment, before somebody else finds out.

It only looks: a ledger that is not there is not made, an audit file is not opened. It asks every
reference for its value, and shows none. Nothing it finds is fatal to it: what cannot be
looked at is a finding too.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from remit.anchor import TrustAnchor
from remit.config import policy_path, read
from remit.config.doctor.files import OTHERS_WRITE, examine_folder, examine_key, mode_of
from remit.config.doctor.grants import examine_grants
from remit.config.doctor.rules import RULES, Finding, Report, Rule, Severity
from remit.config.doctor.state import examine_audit, examine_ledger, examine_references, reveal
from remit.config.source import Source
from remit.encoding import EncodingError, parse_object
from remit.errors import ConfigError, KeyFileError, shown
from remit.files import as_path
from remit.names import read_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from remit.config.model import Config
    from remit.issue import Issuer
    from remit.names import Clock

__all__ = ["RULES", "Finding", "Rule", "Severity", "examine"]

_OLDEST: Final = 1_735_689_600
"""The start of 2025, before there was any Remit."""
_JUMP: Final = 1.0
"""Seconds by which a clock may be off that of the time that passed, before it was set."""
_MAX_ANCHOR: Final = 64 * 1024


def examine(
    path: str | os.PathLike[str] | None = None,
    *,
    clock: Clock = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Finding]:
    """Return what is wrong with the deployment that a policy file describes, the gravest first.

    Args:
        path: the file; by default as for `remit.config.load`.
        clock: seconds since the epoch.
        monotonic: seconds that nobody sets.

    Raises:
        ConfigError: when `path` is no path, `REMIT_CONFIG` is blank, or pydantic is not installed.
    """
    report = Report()
    target = as_path(policy_path(path))
    started, wall = monotonic(), read_clock(clock)
    _examine_policy_file(target, report)
    config = _read(target, report)
    if config is not None:
        _examine_keys(config, report)
        examine_grants(config, report)
        examine_references(config, report)
        examine_ledger(config, clock, report)
        examine_audit(config, report)
    _examine_clock(read_clock(clock), wall, monotonic() - started, report)
    return report.findings()


def _examine_policy_file(path: Path, report: Report) -> None:
    mode = mode_of(path)
    if mode is not None and mode & OTHERS_WRITE:
        report.add("R004-policy-file-open", str(path), f"its mode is {mode:04o}")
    examine_folder(path.absolute(), "R004-policy-file-open", report)


def _read(path: Path, report: Report) -> Config | None:
    try:
        source = Source.read(path)
    except ConfigError as error:
        where, _, what = str(error).partition(": ")
        report.add("R010-policy-invalid", where, what)
        return None
    config, problems = read(source)
    for problem in problems:
        report.add("R010-policy-invalid", f"{source.name}:{problem.line}", problem.text)
    return config


def _examine_clock(now: float, before: float, passed: float, report: Report) -> None:
    if now < _OLDEST:
        report.add("R020-clock-wrong", "the clock", f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}")
    if abs(now - before - passed) > _JUMP:
        what = f"in {passed:.1f} seconds it went {now - before:.1f}"
        report.add("R021-clock-jumps", "the clock", what)


def _examine_keys(config: Config, report: Report) -> None:
    """Look at the private keys and the anchors."""
    settings, where = config.tables.issuer, config.source.where
    audit = config.tables.audit
    own = _examine_issuer(config, report)
    if audit is not None and audit.key is not None and audit.key != settings.key:
        _examine_one_key(config, config.source.folder / audit.key, audit.passphrase, "audit", report)
    if settings.anchors is None:
        if settings.key is None:
            report.add("R040-no-anchors", config.source.name, "it names neither anchors nor a key")
        else:
            report.add("R044-guards-need-key", where("issuer", "key"), "there are no anchors")
        return
    anchors = _examine_anchors(config, report)
    if own is not None and own.anchor not in anchors:
        what = f"no anchor is that of {shown(own.uri)} with this key"
        report.add("R043-own-anchor-missing", where("issuer", "anchors"), what)


def _examine_issuer(config: Config, report: Report) -> Issuer | None:
    settings, path = config.tables.issuer, config.key_path
    if path is None:
        return None
    at = config.source.where("issuer", "key")
    if not path.exists() and settings.anchors is not None:
        report.add("R009-key-file-absent", at, f"{path} is not there")
        return None
    if not config.agents and config.service.admin_token is None:
        report.add("R045-key-not-needed", at, "there are neither agents nor an admin token")
    own = _examine_one_key(config, path, settings.passphrase, "issuer", report)
    if own is not None and settings.uri is not None and own.uri != settings.uri:
        what = f"uri is {shown(settings.uri)}, and the key is that of {shown(own.uri)}"
        report.add("R002-key-file-unusable", config.source.where("issuer", "uri"), what)
    return own


def _examine_one_key(
    config: Config, path: Path, passphrase: str | None, table: str, report: Report
) -> Issuer | None:
    if passphrase is None:
        return examine_key(path, None, report)
    value = reveal(config, passphrase, (table, "passphrase"), "R072-setting-unresolvable", report)
    return None if value is None else examine_key(path, value, report)


def _examine_anchors(config: Config, report: Report) -> list[TrustAnchor]:
    try:
        paths = config.anchor_paths
    except ConfigError as error:
        where, _, what = str(error).partition(": ")
        report.add("R041-anchor-unusable", where, what)
        return []
    found: dict[TrustAnchor, Path] = {}
    for path in paths:
        examine_folder(path, "R041-anchor-unusable", report)
        if _holds_private_key(path):
            report.add("R046-key-among-anchors", str(path), "it holds a private key")
            continue
        try:
            anchor = TrustAnchor.load(path)
        except KeyFileError as error:
            report.add("R041-anchor-unusable", str(path), str(error))
            continue
        if anchor in found:
            report.add("R042-anchor-duplicate", str(path), f"{found[anchor]} holds the same")
        found.setdefault(anchor, path)
    return list(found)


def _holds_private_key(path: Path) -> bool:
    """Tell whether a file holds what only an issuer should have: PKCS#8 in PEM, or a JWK with its `d`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_ANCHOR) if path.is_file() else b""
        if b"PRIVATE KEY-----" in data:
            return True
        members = parse_object(data)
    except (OSError, EncodingError):
        return False
    jwk = members.get("jwk")
    return "d" in members or (isinstance(jwk, dict) and "d" in jwk)

"""What about a SQLite ledger's file, and the place where it lies, may lose data or is unsafe."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Final

from remit.errors import shown
from remit.files import PRIVATE_MODE

__all__ = ["examine_file", "examine_place"]

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_VOLATILE: Final = frozenset({"ramfs", "tmpfs"})
_TIGHT: Final = 64 * 1024 * 1024
"""Bytes free below which a disk may soon be full."""
_LONG_WAL: Final = 256 * 1024 * 1024
"""Bytes of a log that is never written back; usually it is some four million."""


def examine_place(path: Path, mounts: Path = _MOUNTS) -> list[str]:
    """Return what is wrong with where the file is, and with who may do what to it.

    Args:
        path: the ledger's file.
        mounts: the list of file systems, as Linux writes it.
    """
    name, findings = shown(str(path)), list[str]()
    if os.name == "posix":
        findings += _modes(path, name)
    kind = _file_system(path, mounts)
    if kind in _NETWORK or kind.startswith("fuse."):
        findings.append(
            f"The ledger {name} is on a {kind} file system, where SQLite's locks may not hold between"
            " machines; put it on a local disk, or use Redis or PostgreSQL."
        )
    if kind in _VOLATILE:
        findings.append(
            f"The ledger {name} is on a {kind} file system, which a restart of the machine empties."
        )
    free = shutil.disk_usage(path.parent).free
    if free < _TIGHT:
        findings.append(
            f"The disk of the ledger {name} has {free // 1024**2} MB left; when it is full, calls are denied."
        )
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size > _LONG_WAL:
        findings.append(
            f"The log {shown(str(log))} has {log.stat().st_size // 1024**2} MB: some process reads the ledger"
            " without end and keeps it from being written back."
        )
    return findings


def _modes(path: Path, name: str) -> list[str]:
    findings: list[str] = []
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~PRIVATE_MODE & 0o077:
        findings.append(
            f"The ledger {name} has mode {mode:04o}: others may read or change it;"
            f" make it {PRIVATE_MODE:04o}."
        )
    folder = stat.S_IMODE(path.parent.stat().st_mode)
    if folder & 0o022 and not folder & stat.S_ISVTX:
        findings.append(
            f"The folder of the ledger {name} has mode {folder:04o}:"
            " others may put another file in its place."
        )
    return findings


def _file_system(path: Path, mounts: Path) -> str:
    """Return the kind of file system that `path` is on, blank where that cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    target, best, kind = path.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:  # noqa: PLR2004 - the fifth field is where it is mounted
            point = Path(fields[4].encode().decode("unicode_escape"))
            if target.is_relative_to(point) and len(point.parts) >= best:
                best, kind = len(point.parts), after.split()[0]
    return kind


def examine_file(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the file itself."""
    findings: list[str] = []
    [(mode,)] = connection.execute("PRAGMA journal_mode")
    if mode != "wal":
        findings.append(
            f"The ledger keeps its journal as {mode!r}, not as 'wal', which its file system does not support:"
            " readers and writers wait for each other."
        )
    [(verdict,)] = connection.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        findings.append(f"The ledger's file is damaged: {shown(verdict)}. Restore a backup.")
    return findings

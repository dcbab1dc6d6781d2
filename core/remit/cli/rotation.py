"""The issuer's key files: a new key in place of the old one, and an old key out of trust.

Invariants, which hold also when the process is killed at any moment:

- there is a private key under its name at all times, and its anchor was there before it;
- no private key is overwritten: the one before stays beside the new one, under the name of its own;
- a key that is retired is refused by the ledger before its anchor goes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from remit.anchor import TrustAnchor
from remit.audit import MemoryAudit
from remit.errors import ConfigError, KeyFileError, shown
from remit.issue import Issuer
from remit.ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from remit.config import Config

__all__ = [
    "RETIRED",
    "Rotation",
    "anchor_folder",
    "key_at_hand",
    "retire_files",
    "rotate_key",
    "trusted_files",
]

RETIRED: Final = ".retired"
"""What the name of an anchor file ends in once its key is trusted no more."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    issuer: str
    kid: str
    previous: str
    anchor: Path
    """The file of the new key's anchor."""
    kept: Path
    """Where the previous private key is now."""


def key_at_hand(config: Config) -> Issuer:
    """Return the issuer's key, for its files to be looked after; nothing is issued with it here.

    Raises:
        ConfigError, KeyFileError: as `Config.issuer` does.
    """
    return config.issuer(audit=MemoryAudit(), ledger=MemoryLedger())


def trusted_files(config: Config) -> list[tuple[Path, TrustAnchor]]:
    """Return the anchor files that the policy file names, and what is in them.

    Raises:
        ConfigError, KeyFileError: when one cannot be used.
    """
    if config.tables.issuer.anchors is None:
        return []
    return [(path, TrustAnchor.load(path)) for path in config.anchor_paths]


def anchor_folder(config: Config) -> Path:
    """Return the folder that anchors are kept in.

    Raises:
        ConfigError: when the policy file names none.
    """
    for name in config.tables.issuer.anchors or ():
        folder = config.source.folder / name
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"{config.source.where('issuer')}: rotating needs anchors = a folder, in which the old key stays"
        " trusted beside the new one"
    )


def rotate_key(config: Config) -> Rotation:
    """Put a new private key in the place of the issuer's; the old one stays trusted.

    Raises:
        ConfigError: when the policy file names no key, or no folder of anchors.
        KeyFileError: when a file cannot be used or written, or another rotation is under way.
    """
    path = config.key_path
    if path is None:
        raise ConfigError(f"{config.source.where('issuer')}: [issuer] names no key to rotate")
    if path.is_symlink():
        raise KeyFileError(f"{shown(str(path))} is a symbolic link; rotate the key where it is kept")
    folder = anchor_folder(config)
    reference = config.tables.issuer.passphrase
    passphrase = None if reference is None else config.resolve(reference)
    with _alone(folder), _told(path):
        old = key_at_hand(config)
        new = Issuer.generate(old.uri)
        if old.anchor not in config.anchors():
            old.anchor.save(_anchor_file(folder, old))
        anchor = _anchor_file(folder, new)
        draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        kept = path.with_name(f"{path.name}.{_kid(old)}")
        try:
            new.save(draft, passphrase=passphrase)
            new.anchor.save(anchor)
            _keep(path, kept)
            draft.replace(path)
        except BaseException:  # whatever it is, a key that never came to sign leaves nothing behind
            for file in (draft, anchor) if draft.exists() else ():
                with suppress(OSError):
                    file.unlink()
            raise
        _sync(path.parent)
    return Rotation(new.uri, _kid(new), _kid(old), anchor, kept)


def retire_files(config: Config, kid: str) -> tuple[list[Path], list[Path]]:
    """Take the anchor files of a key out of trust, as far as they are in folders.

    Returns:
        The files that were renamed, by their new names, and those that the policy file names one by
        one, which are for a person to take out of it.

    Raises:
        KeyFileError: when a file cannot be renamed.
    """
    named = {config.source.folder / name for name in config.tables.issuer.anchors or ()}
    renamed: list[Path] = []
    left: list[Path] = []
    for path, anchor in trusted_files(config):
        if anchor.key.thumbprint != kid:
            continue
        if path in named:
            left.append(path)
            continue
        with _told(path):
            target = path.with_name(path.name + RETIRED)
            if target.exists():  # of an earlier key of the same file name
                target = path.with_name(f"{path.stem}.{kid}.json{RETIRED}")
            target.hardlink_to(path)  # fails when the name is taken, which renaming would not
            path.unlink()
            renamed.append(target)
    return renamed, left


def _kid(issuer: Issuer) -> str:
    return issuer.anchor.key.thumbprint


def _anchor_file(folder: Path, issuer: Issuer) -> Path:
    return folder / f"{_kid(issuer)}.json"


def _keep(path: Path, kept: Path) -> None:
    """Give the old key its second name; it has it already when a rotation was killed at this point."""
    try:
        os.link(path, kept)
    except FileExistsError:
        if not kept.samefile(path):
            raise KeyFileError(f"{shown(str(kept))} exists already and is never overwritten") from None


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Turn what the system says into an error of Remit."""
    try:
        yield
    except KeyFileError:
        raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise KeyFileError(f"{shown(str(path))} cannot be replaced: {why}") from None


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keep another rotation away for the block.

    Raises:
        KeyFileError: when there is one.
    """
    try:
        import fcntl
    except ImportError:  # not on this system: two people at once is then theirs to avoid
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KeyFileError("another rotation of these keys is under way") from None
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

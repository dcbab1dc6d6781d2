"""`remit keys`: the issuer's keys, which of them signs, and which are trusted."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli import options
from remit.cli.completion import complete_key
from remit.cli.credential import check_identifier
from remit.cli.deployment import loaded, open_ledger, open_operator
from remit.cli.output import note, print_json, printable, say
from remit.errors import ConfigError, Denied, KeyFileError, shown

if TYPE_CHECKING:
    from pathlib import Path

    from remit.anchor import TrustAnchor
    from remit.config import Config

__all__ = ["keys", "retire", "rotate"]


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    issuer: str
    active: bool
    """Whether new tokens are signed with it."""
    trusted: bool
    revoked: bool
    file: str | None
    """The file of its anchor, relative to the policy file."""


def keys(ctx: typer.Context, *, config: options.ConfigFile = None, as_json: options.Json = False) -> None:
    """List the issuers' keys: which of them signs, which are trusted, which were revoked."""
    if ctx.invoked_subcommand is not None:
        if config is not None or as_json:
            raise typer.BadParameter(f"put --config and --json after {ctx.invoked_subcommand}")
        return
    found = _all_keys(loaded(config))
    if as_json:
        print_json([asdict(key) for key in found])
        return
    for key in found:
        states = {"active": key.active, "trusted": key.trusted, "REVOKED": key.revoked}
        told = ", ".join(name for name, is_so in states.items() if is_so) or "not trusted"
        say(f"{key.kid}  {told}")
        say(f"  {printable(key.issuer)}{'' if key.file is None else f', {printable(key.file)}'}")


def rotate(*, config: options.ConfigFile = None, as_json: options.Json = False) -> None:
    """Make a new key that signs from now on. The old one stays trusted, and is kept beside it.

    Guards and services that read this policy file find the new key's anchor when they first meet it.
    """
    from remit.cli.rotation import rotate_key

    policy = loaded(config)
    done = rotate_key(policy)
    anchor, kept = (_relative(policy, path) for path in (done.anchor, done.kept))
    if as_json:
        print_json(
            {"kid": done.kid, "issuer": done.issuer, "previous": done.previous, "file": anchor, "kept": kept}
        )
        return
    say(f"{done.kid}  signs from now on")
    say(f"  anchor {printable(anchor)}: guards of this policy file find it when they first meet the key")
    say(f"{done.previous}  stays trusted")
    say(f"  private key kept in {printable(kept)}; delete it once nobody needs it")
    say("`remit keys retire` ends the trust in a key, and with it the tokens it has signed")


def retire(
    kid: Annotated[
        str,
        typer.Argument(metavar="KID", help="The key, as `remit keys` lists it.", autocompletion=complete_key),
    ],
    *,
    force: Annotated[bool, typer.Option("--force", help="Also the key that signs now.")] = False,
    reason: options.Reason = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Trust a key no more: running guards refuse at once everything it has signed.

    The ledger is told first, so that guards need not be started anew; then the anchor is renamed, so
    that no guard loads it again.
    """
    from remit.cli.rotation import retire_files, trusted_files

    check_identifier(kid, "")
    policy = loaded(config)
    known = {key.kid: key for key in _all_keys(policy)}
    if kid not in known:
        raise ConfigError(f"there is no key {shown(kid)}; `remit keys` lists them")
    if known[kid].active and not force:
        raise ConfigError(
            "this key signs now; `remit keys rotate` first, or --force to stop all that it signed"
        )
    with open_operator(policy) as (guard, _):
        new = guard.revoke_key(kid, reason=reason)
    others = [anchor for _, anchor in trusted_files(policy) if anchor.key.thumbprint != kid]
    renamed, left = retire_files(policy, kid) if others else ([], [])
    if as_json:
        files = [_relative(policy, path) for path in renamed]
        print_json(
            {"kid": kid, "revoked": new, "retired": files, "left": [_relative(policy, p) for p in left]}
        )
    else:
        say(f"{kid}  {'retired' if new else 'was retired already'}: everything it has signed is refused")
        for path in renamed:
            say(f"  its anchor is now {printable(_relative(policy, path))}")
    for path in left:
        named = shown(_relative(policy, path))
        note(f"take {named} out of [issuer] anchors; meanwhile the ledger refuses the key")
    if not others and known[kid].trusted:
        note(
            "it is the only key there is, so its anchor stays, and the ledger refuses it;"
            " `remit keys rotate` makes a new one"
        )


def _all_keys(config: Config) -> list[_Key]:
    from remit.cli.revocations import revoked_among
    from remit.cli.rotation import trusted_files

    active = _active(config)
    anchors: dict[TrustAnchor, tuple[str | None, bool]] = {}
    for path, anchor in trusted_files(config):
        anchors.setdefault(anchor, (_relative(config, path), True))
    if active is not None:
        anchors.setdefault(active, (None, config.tables.issuer.anchors is None))
    for path, anchor in _retired(config):
        anchors.setdefault(anchor, (_relative(config, path), False))
    with open_ledger(config) as ledger:
        revoked = revoked_among(ledger, {f"key:{anchor.key.thumbprint}" for anchor in anchors})
    listed = [
        _Key(
            kid=anchor.key.thumbprint,
            issuer=anchor.issuer,
            active=anchor == active,
            trusted=trusted,
            revoked=f"key:{anchor.key.thumbprint}" in revoked,
            file=file,
        )
        for anchor, (file, trusted) in anchors.items()
    ]
    return sorted(listed, key=lambda key: (not key.active, not key.trusted, key.kid))


def _active(config: Config) -> TrustAnchor | None:
    """Return the anchor of the key that signs, where it is at hand."""
    from remit.cli.rotation import key_at_hand

    if config.key_path is None:
        return None
    try:
        return key_at_hand(config).anchor
    except (KeyFileError, ConfigError, Denied) as error:
        note(f"which key signs is not known here: {error}")
        return None


def _retired(config: Config) -> list[tuple[Path, TrustAnchor]]:
    from remit.anchor import TrustAnchor
    from remit.cli.rotation import RETIRED

    found: list[tuple[Path, TrustAnchor]] = []
    for name in config.tables.issuer.anchors or ():
        folder = config.source.folder / name
        files = sorted(folder.glob(f"*.json{RETIRED}")) if folder.is_dir() else []
        for path in files:
            try:
                found.append((path, TrustAnchor.load(path)))
            except KeyFileError:
                note(f"{shown(_relative(config, path))} holds no trust anchor")
    return found


def _relative(config: Config, path: Path) -> str:
    return os.path.relpath(path, config.source.folder)

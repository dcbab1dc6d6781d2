"""How a credential that was just made leaves a command: on standard output, or in a file of its owner's."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from remit.cli.output import note, print_json, printable, say, when
from remit.errors import KeyFileError, shown
from remit.files import as_path

if TYPE_CHECKING:
    from pathlib import Path

    from remit.credential import Credential

__all__ = ["check_target", "hand_over"]


def check_target(out: Path | None) -> None:
    """Make sure that a file can be made, before a token is signed for nothing.

    Raises:
        KeyFileError: when it is there already, or its folder is not.
    """
    if out is None:
        return
    target = as_path(out)
    if target.is_symlink() or target.exists():
        raise KeyFileError(f"{shown(str(target))} exists already and is never overwritten")
    if not target.parent.is_dir():
        raise KeyFileError(
            f"{shown(str(target))} cannot be written: there is no folder {shown(str(target.parent))}"
        )


def hand_over(credential: Credential, *, made: str, out: Path | None, as_json: bool) -> None:
    """Give a credential to whoever asked for it.

    Args:
        credential: what was made.
        made: what was done, for people: `issued`, `delegated`.
        out: a new file for the credential, which then is printed nowhere.
        as_json: whether a JSON object is wanted that says what the credential is.

    Raises:
        KeyFileError: when the file cannot be written.
    """
    if out is not None:
        credential.save(out)
    told = (
        f"{made} token {printable(credential.token_id)} for agent {shown(credential.agent)},"
        f" good until {when(credential.expires_at.timestamp())}"
    )
    if as_json:
        print_json(_members(credential, out))
    elif out is not None:
        say(f"{told}: {printable(str(out))}")
    else:
        note(told)
        if credential.has_key and sys.stdout.isatty():
            note("what follows holds a private key; --out FILE keeps it off the screen")
        say(credential.to_json())


def _members(credential: Credential, out: Path | None) -> dict[str, Any]:
    members: dict[str, Any] = {
        "token": credential.token,
        "token_id": credential.token_id,
        "agent": credential.agent,
        "issuer": credential.issuer,
        "expires_at": int(credential.expires_at.timestamp()),
        "capabilities": [capability.name for capability in credential.capabilities],
        "secrets": list(credential.secrets),
        "chain": list(credential.chain),
    }
    if out is not None:
        members["path"] = str(out)
    elif credential.has_key:
        members["credential"] = json.loads(credential.to_json())
    return members

"""The token or credential a command was given: an argument, a file, standard input or `REMIT_CREDENTIAL`.

Invariants:

- nothing needs a credential on the command line, where shell history and `ps` keep it, and one that
  holds a private key is refused there;
- what looks like a token is never taken for the name of a file, and no message repeats it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import typer

from remit.credential import Credential
from remit.encoding import EncodingError, parse_object
from remit.errors import KeyFileError, shown
from remit.files import PRIVATE_READERS, as_path

if TYPE_CHECKING:
    from remit.encoding import JsonObject

__all__ = ["Source", "check_identifier", "looks_like_token", "read_source"]

_VARIABLE: Final = "REMIT_CREDENTIAL"
_STDIN: Final = "-"
_MAX_SIZE: Final = 512 * 1024
_MAX_NAME: Final = 255
_NO_SUCH_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_MAX_ECHO: Final = 32
"""Characters of a path that is not there which a message repeats; anything longer may be a key."""
_NOTHING: Final = f"give a token, a file that holds one, or - for standard input; or set {_VARIABLE}"
_KEY_ON_COMMAND_LINE: Final = (
    f"a private key does not belong on the command line; put it in a file, pipe it to -, or set {_VARIABLE}"
)


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """What a command was given. Nothing of it has been looked at but its shape."""

    chain: tuple[str, ...]
    """The tokens, root first."""
    holder_key: JsonObject | None = None
    """The private key that the last token names, as a JWK, where it came along."""

    def credential(self) -> Credential:
        """Return it as a credential, which can be shown, and with its key delegated.

        Raises:
            TokenRejected: when the tokens are malformed.
            ConfigError: when the key is another than the last token names.
        """
        return Credential.from_token(self.chain, self.holder_key)


def looks_like_token(text: str) -> bool:
    """Tell whether text is a token or a credential, or begins as one."""
    return text.lstrip().startswith(("eyJ", "{", "["))


def check_identifier(text: str, instead: str) -> str:
    """Return `text` when it can be an identifier. A token in its place is not repeated.

    Raises:
        BadParameter: when it is a token, a credential, or too long to name anything; `instead` says what
            to do then.
    """
    if looks_like_token(text) or len(text) > _MAX_NAME:
        raise typer.BadParameter(f"an identifier is needed, not a token or a credential{instead}")
    return text


def read_source(given: str | None) -> Source:
    """Return what a command was given.

    Args:
        given: its argument: a token, a file, `-`, or None for the environment.

    Raises:
        BadParameter: when nothing was given anywhere, or a private key as an argument.
        KeyFileError: when a file cannot be read, or holds neither a token nor a credential.
    """
    if given is None:
        text = os.environ.get(_VARIABLE, "")
        if not text.strip():
            raise typer.BadParameter(_NOTHING)
        return _parse(text, f"the environment variable {_VARIABLE}")
    if given == _STDIN:
        data = b"" if sys.stdin is None else sys.stdin.buffer.read(_MAX_SIZE + 1)
        return _parse(_text(data, "standard input"), "standard input")
    if not given.strip():
        raise typer.BadParameter(_NOTHING)
    if not looks_like_token(given):
        return _read_file(given)
    source = _parse(given, "the argument")
    if source.holder_key is not None:
        raise typer.BadParameter(_KEY_ON_COMMAND_LINE)
    return source


def _read_file(path: str) -> Source:
    where = shown(str(as_path(path)))
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_SIZE + 1) if stat.S_ISREG(mode) else None
    except (OSError, ValueError) as error:
        if len(path) > _MAX_ECHO and (not isinstance(error, OSError) or error.errno in _NO_SUCH_FILE):
            raise KeyFileError("the argument is neither a token nor a file that is there") from None
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise KeyFileError(f"{where} cannot be read: {why}") from None
    if data is None:
        raise KeyFileError(f"{where} is not a regular file; use - for standard input")
    source = _parse(_text(data, where), where)
    if source.holder_key is not None and os.name == "posix" and mode & PRIVATE_READERS:
        raise KeyFileError(
            f"{where} holds a private key and has mode {stat.S_IMODE(mode):04o}, which is too open;"
            " make it 0600"
        )
    return source


def _text(data: bytes, where: str) -> str:
    if len(data) > _MAX_SIZE:
        raise KeyFileError(f"{where} is too large for a credential")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyFileError(f"{where} holds neither a token nor a credential") from None


def _parse(text: str, where: str) -> Source:
    """Return the tokens in text: a bare token, a chain as a JSON list, or an object that holds them."""
    bare = text.strip()
    if not bare:
        raise KeyFileError(f"{where} is empty")
    if bare[0] not in "{[":
        return Source((bare,))
    wrapped = bare if bare[0] == "{" else f'{{"chain":{bare}}}'
    try:
        members = parse_object(wrapped.encode("utf-8", "surrogateescape"))
    except EncodingError as error:
        raise KeyFileError(f"{where} {error}") from None
    return _of_members(members, where)


def _of_members(members: JsonObject, where: str) -> Source:
    """Return what an object holds: that of `Credential.save`, of `remit issue --json`, or a presentation."""
    inner = members.get("credential")
    if isinstance(inner, dict):
        members = inner
    chain: Any = members.get("chain", members.get("aat_chain"))
    if chain is None and isinstance(members.get("token"), str):
        chain = [members["token"]]
    if not isinstance(chain, list) or not chain:
        raise KeyFileError(f"{where} holds neither a token nor a credential")
    tokens = tuple(token for token in cast("list[object]", chain) if isinstance(token, str))
    key = members.get("holder_key")
    if len(tokens) != len(cast("list[object]", chain)) or not (key is None or isinstance(key, dict)):
        raise KeyFileError(f"{where} holds neither a token nor a credential")
    return Source(tokens, key)

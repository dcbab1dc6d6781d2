"""References: URIs that name the place where a secret is kept (RFC 3986, and stricter).

A reference is `scheme://path`, then perhaps `?name=value&name=value`, then perhaps `#field`. Nothing is
decoded or normalised: what could be read in two ways is refused. Somebody may have written the secret
itself where its reference belongs, so that no message quotes more of one than its scheme and the names of
its options.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from remit.errors import ConfigError, shown

__all__ = ["Reference", "alike", "parse_reference"]

_MAX_REFERENCE: Final = 2048
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://(.*)", re.ASCII)
_OPTION: Final = re.compile(r"([a-z][a-z0-9_]{0,31})=([^&=]+)", re.ASCII)
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A reference in its parts, each as it was written."""

    text: str
    """The whole reference."""
    scheme: str = dataclasses.field(compare=False)
    path: str = dataclasses.field(compare=False)
    """What stands between `://` and `?` or `#`; never blank."""
    options: Mapping[str, str] = dataclasses.field(default_factory=lambda: _NO_OPTIONS, compare=False)
    """What stands after `?`."""
    field: str | None = dataclasses.field(default=None, compare=False)
    """What stands after `#`."""

    def check_parts(self, *, options: tuple[str, ...] = (), takes_field: bool = False) -> None:
        """Refuse options and a field that the scheme does not take.

        Args:
            options: the names of the options that it takes.
            takes_field: whether it takes a `#field`.

        Raises:
            ConfigError: when there are others.
        """
        for name in self.options:
            if name not in options:
                meant = alike(name, options) or (f" ({', '.join(options)})" if options else "")
                raise ConfigError(f"{self.scheme}:// takes no option {shown(name)}{meant}")
        if self.field is not None and not takes_field:
            raise ConfigError(f"{self.scheme}:// takes no #field")

    def segments(self, *, absolute: bool = False) -> list[str]:
        """Return the parts of the path between slashes.

        Args:
            absolute: whether a slash at its beginning is none between parts.

        Raises:
            ConfigError: when one is empty, `.` or `..`.
        """
        parts = (self.path.removeprefix("/") if absolute else self.path).split("/")
        if "" in parts:
            raise ConfigError(f"{self.scheme}:// has an empty part between slashes")
        if "." in parts or ".." in parts:
            raise ConfigError(f"{self.scheme}:// has a part that is '.' or '..'")
        return parts


def parse_reference(text: object) -> Reference:
    """Return a reference in its parts.

    Raises:
        ConfigError: when it is none; the message does not quote it.
    """
    if not isinstance(text, str):
        raise ConfigError(f"a reference must be text such as 'env://NAME', not {shown(text)}")
    if len(text) > _MAX_REFERENCE:
        raise ConfigError(f"the reference is longer than {_MAX_REFERENCE} characters")
    whole = _SCHEME.fullmatch(text) if text.isprintable() else None
    if whole is None:
        raise ConfigError(
            "the reference is not of the form scheme://path, such as env://NAME, in printable text"
        )
    scheme, rest = whole[1], whole[2]
    if "%" in rest or "\\" in rest:
        raise ConfigError(f"{scheme}:// holds a '%' or a backslash; nothing in a reference is decoded")
    before, hash_mark, fragment = rest.partition("#")
    path, question_mark, query = before.partition("?")
    if not path or path != path.strip():
        raise ConfigError(f"{scheme}:// names no place, or has spaces around it")
    if hash_mark and (not fragment.strip() or "#" in fragment or "?" in fragment):
        raise ConfigError(f"{scheme}:// must end with one #field, after the options if there are any")
    options = _options(scheme, query) if question_mark else _NO_OPTIONS
    return Reference(text, scheme, path, options, fragment if hash_mark else None)


def _options(scheme: str, query: str) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&"):
        pair = _OPTION.fullmatch(part)
        if pair is None or pair[2] != pair[2].strip():
            raise ConfigError(f"{scheme}:// has options that are not of the form ?name=value&name=value")
        if pair[1] in options:
            raise ConfigError(f"{scheme}:// has the option {shown(pair[1])} twice")
        options[pair[1]] = pair[2]
    return MappingProxyType(options)


def alike(word: str, known: tuple[str, ...]) -> str:
    """Return `, did you mean 'x'?` when a known word is much like this one, and nothing otherwise."""
    import difflib  # not needed until something is misspelt

    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f", did you mean {shown(close[0])}?" if close else ""

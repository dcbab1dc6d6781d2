"""Constraints on text that names something: path, url, email, cidr, prefix, and max_length.

They compare, they never normalise: text that two programs could read differently (dot segments,
escapes, user names in URLs, octal addresses) is refused, because the tool behind the check is one of
those programs.
"""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias

from remit.constraints.base import Constraint, member, put
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from typing import Self

    from remit.encoding import JsonObject, JsonValue

__all__ = ["Cidr", "Email", "MaxLength", "Path", "Prefix", "Url"]

_Network: TypeAlias = "IPv4Network | IPv6Network"

_MAX_TEXT: Final = 4096
_MAX_ADDRESS: Final = len("ffff:" * 8 + "/128")
_DOTS: Final = frozenset({".", ".."})


def _is_plain(text: str) -> bool:
    """Tell whether `text` holds nothing that a tool could take for a separator, or not see at all."""
    if len(text) > _MAX_TEXT or "\\" in text or not text.isprintable():
        return False
    if text.isascii():
        return True
    # A full-width solidus or dot turns into the real one in programs that normalise (NFKC).
    normal = unicodedata.normalize("NFKC", text)
    return all(normal.count(letter) == text.count(letter) for letter in "/\\.:@%?#")


def _segments(path: str) -> list[str] | None:
    """Return the segments of an absolute path, or None when it is not plain and unambiguous."""
    if not path.startswith("/") or not _is_plain(path) or "%" in path:
        return None
    segments = path[1:].split("/") if path != "/" else []
    return None if any(segment in _DOTS or not segment for segment in segments) else segments


class _OneText(Constraint):
    """A constraint made of one string, which stands under one name on the wire."""

    __slots__ = ("_text",)
    MEMBER: ClassVar[str]
    _text: str

    def __init__(self, text: str) -> None:
        if type(text) is not str:
            raise ConfigError(f"{type(self).__name__}: takes a string, not {shown(text)}")
        self._init()
        put(self, "_text", text)
        self._compile(text)

    @abstractmethod
    def _compile(self, text: str) -> None:
        """Read the text, raising `ConfigError` when it makes no sense."""

    def _members(self) -> JsonObject:
        return {self.MEMBER: self._text}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf
        return cls(member(members, cls.MEMBER, str))


class Path(_OneText):
    """The argument is an absolute path: `root` itself or something beneath it, segment by segment.

    Relative paths, empty, `.` and `..` segments, a trailing slash, backslashes, percent signs and
    control characters are refused. Only the text is looked at: where somebody else can create
    symbolic links beneath `root`, the tool must resolve them itself.

    Args:
        root: an absolute path such as `/srv/reports`; `/` is every absolute path.

    Raises:
        ConfigError: when `root` is not such a path.
    """

    __slots__ = ("_root",)
    TYPE: ClassVar[str] = "path"
    MEMBER: ClassVar[str] = "root"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})
    _root: list[str]

    def _compile(self, text: str) -> None:
        segments = _segments(text)
        if segments is None:
            raise ConfigError(f"Path: {shown(text)} is not a plain absolute path")
        put(self, "_root", segments)

    @property
    def root(self) -> str:
        """The path at or beneath which arguments lie."""
        return self._text

    def check(self, value: JsonValue) -> bool:
        segments = _segments(value) if isinstance(value, str) else None
        return segments is not None and segments[: len(self._root)] == self._root

    def describe(self) -> str:
        return f"a plain absolute path under {shown(self._text)}"


class _UrlParts(NamedTuple):
    origin: str
    path: list[str]
    query: str | None


_URL: Final = re.compile(
    r"(?P<origin>[a-z][a-z0-9+.-]*://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?)"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:2[EeFf]|5[Cc]|[01][0-9A-Fa-f]|7[Ff]|25)")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def _url_parts(text: str) -> _UrlParts | None:
    """Return the parts of an unambiguous URL (RFC 3986 in lower case, ASCII), or None."""
    match = _URL.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        return None
    origin, path, query = match["origin"], match["path"], match["query"]
    scheme, _, authority = origin.partition("://")
    if ".." in authority or origin.endswith(_DEFAULT_PORTS.get(scheme, " ")) or _BAD_ESCAPE.search(path):
        return None
    segments = path[1:].split("/") if path not in {"", "/"} else []
    # An empty last segment is a trailing slash, which names another resource but no other subtree.
    if not all(map(_is_plain_segment, segments)) or "" in segments[:-1]:
        return None
    return _UrlParts(origin, segments, query)


def _is_plain_segment(segment: str) -> bool:
    """Tell whether a segment is no dot segment, also not one with parameters or behind escapes."""
    if segment.partition(";")[0] in _DOTS:
        return False
    if "%" not in segment:
        return True
    from urllib.parse import unquote  # slow to import, and seldom needed

    try:
        return _is_plain(unquote(segment, errors="strict"))
    except UnicodeDecodeError:
        return False


class Url(_OneText):
    """The argument is a URL with this scheme, host and port, at or beneath this path.

    User names, upper-case hosts, explicit default ports, fragments, dot segments, backslashes,
    encoded dots, slashes and percent signs, and anything outside ASCII are refused. A query is
    allowed. The host is compared as text: what it resolves to is for the tool to care about.

    Args:
        base: `https://host`, optionally with a port and a path, such as `https://api.example/v1`.

    Raises:
        ConfigError: when `base` is not such a URL.
    """

    __slots__ = ("_base",)
    TYPE: ClassVar[str] = "url"
    MEMBER: ClassVar[str] = "base"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})
    _base: _UrlParts

    def _compile(self, text: str) -> None:
        parts = _url_parts(text)
        if parts is None or parts.query is not None or "" in parts.path:
            raise ConfigError(f"Url: {shown(text)} is not a plain scheme://host[:port][/path]")
        put(self, "_base", parts)

    @property
    def base(self) -> str:
        """The URL at or beneath which arguments lie."""
        return self._text

    def _holds(self, parts: _UrlParts) -> bool:
        prefix = self._base.path
        return parts.origin == self._base.origin and parts.path[: len(prefix)] == prefix

    def check(self, value: JsonValue) -> bool:
        parts = _url_parts(value) if isinstance(value, str) else None
        return parts is not None and self._holds(parts)

    def contains_url(self, other: Url) -> bool:
        """Tell whether `other` is the same origin, at or beneath the same path."""
        return self._holds(other._base)

    def describe(self) -> str:
        return f"a plain URL under {shown(self._text)}"


_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_LOCAL_PART: Final = 64
_MAX_DOMAIN: Final = 253


class Email(_OneText):
    """The argument is one plain e-mail address in `domain`, and not in a subdomain of it.

    Display names, lists, quoted or commented local parts, routing characters (`%`, `!`), upper-case
    domains and anything outside ASCII are refused.

    Args:
        domain: a domain in lower case, such as `acme.example`.

    Raises:
        ConfigError: when `domain` is not such a name.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "email"
    MEMBER: ClassVar[str] = "domain"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def _compile(self, text: str) -> None:
        if len(text) > _MAX_DOMAIN or not _DOMAIN.fullmatch(text):
            raise ConfigError(f"Email: {shown(text)} is not a domain in lower case")

    @property
    def domain(self) -> str:
        """The domain of the addresses allowed."""
        return self._text

    def check(self, value: JsonValue) -> bool:
        if not isinstance(value, str) or len(value) > _MAX_LOCAL_PART + 1 + _MAX_DOMAIN:
            return False
        local, _, domain = value.partition("@")
        return (
            domain == self._text
            and len(local) <= _MAX_LOCAL_PART
            and _LOCAL_PART.fullmatch(local) is not None
        )

    def describe(self) -> str:
        return f"one plain e-mail address at {shown(self._text)}"


class Cidr(_OneText):
    """The argument is an IP address, in its canonical spelling, inside a network.

    Leading zeros, octal, hexadecimal and short forms, zones and IPv4 written as IPv6 are refused.

    Args:
        network: a network such as `10.0.0.0/8` or `2001:db8::/32`, without host bits.

    Raises:
        ConfigError: when `network` is not such a network.
    """

    __slots__ = ("_network",)
    TYPE: ClassVar[str] = "cidr"
    MEMBER: ClassVar[str] = "network"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})
    _network: _Network

    def _compile(self, text: str) -> None:
        import ipaddress  # slow to import, and needed for this alone

        network: _Network | None = None
        try:
            network = ipaddress.ip_network(text) if len(text) <= _MAX_ADDRESS else None
        except ValueError:
            network = None
        if network is None or str(network) != text:
            raise ConfigError(f"Cidr: {shown(text)} is not a network in canonical form")
        put(self, "_network", network)

    @property
    def network(self) -> str:
        """The network in which the addresses allowed lie."""
        return self._text

    def check(self, value: JsonValue) -> bool:
        if not isinstance(value, str) or len(value) > _MAX_ADDRESS:
            return False
        import ipaddress

        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return str(address) == value and "%" not in value and address in self._network

    def contains_network(self, other: Cidr) -> bool:
        """Tell whether the network of `other` lies inside this one."""
        outer, inner = self._network, other._network
        return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # one version

    def describe(self) -> str:
        return f"an IP address in {shown(self._text)}"


class Prefix(_OneText):
    """The argument is a string that starts with `prefix`.

    It is a comparison of characters and knows no structure; for paths and URLs use `Path` and `Url`.

    Args:
        prefix: the start of every string allowed, at least one character.

    Raises:
        ConfigError: when `prefix` is empty.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "prefix"
    MEMBER: ClassVar[str] = "prefix"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def _compile(self, text: str) -> None:
        if not 0 < len(text) <= _MAX_TEXT:
            raise ConfigError(f"Prefix: needs one to {_MAX_TEXT} characters")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError("Prefix: holds a lone surrogate") from None

    @property
    def prefix(self) -> str:
        """The start of every string allowed."""
        return self._text

    def check(self, value: JsonValue) -> bool:
        return isinstance(value, str) and value.startswith(self._text)

    def describe(self) -> str:
        return f"a string that starts with {shown(self._text)}"


class MaxLength(Constraint):
    """The argument is a string of at most `maximum` code points, or a list of at most that many elements.

    Args:
        maximum: a whole number, zero or more.

    Raises:
        ConfigError: when it is not.
    """

    __slots__ = ("maximum",)
    TYPE: ClassVar[str] = "max_length"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"max"})

    maximum: int
    """The greatest length allowed."""

    def __init__(self, maximum: int) -> None:
        try:
            self._build(maximum)
        except EncodingError as error:
            raise ConfigError(f"MaxLength: {error}") from None

    def _build(self, maximum: int) -> None:
        if type(maximum) is not int or not 0 <= maximum < 2**53:
            raise EncodingError("has a max that is not a whole number of zero or more")
        self._init()
        put(self, "maximum", maximum)

    def check(self, value: JsonValue) -> bool:
        return isinstance(value, str | list) and len(value) <= self.maximum

    def _members(self) -> JsonObject:
        return {"max": self.maximum}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf
        self = cls.__new__(cls)
        self._build(member(members, "max", int))
        return self

    def describe(self) -> str:
        return f"text or a list of length {self.maximum} at most"

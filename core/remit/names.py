"""Names and times as people write them, checked once where they enter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar, cast

from remit.errors import ConfigError, shown

__all__ = [
    "DEFAULT_MAX_TTL",
    "DEFAULT_TTL",
    "LONGEST_TTL",
    "MAX_NAME",
    "Clock",
    "Duration",
    "check_clock",
    "check_name",
    "check_reason",
    "check_text",
    "check_uri",
    "exact",
    "items",
    "mapping",
    "moment",
    "read_clock",
    "seconds",
    "timestamp",
]

T = TypeVar("T")

Duration: TypeAlias = "str | int | float | timedelta"
"""A length of time: `30s`, `15m`, `2h`, `7d`, whole seconds, or a `timedelta`."""

Clock: TypeAlias = Callable[[], float]
"""Gives seconds since the epoch, as `time.time` does."""

DEFAULT_TTL: Final = "10m"
DEFAULT_MAX_TTL: Final = "7d"
LONGEST_TTL: Final = 90 * 86_400
"""The longest lifetime of a root token that any guard accepts (draft Section 4.4, MAX_TOKEN_LIFETIME)."""

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,9})([smhd])", re.ASCII)
_LONGEST: Final = 10 * 366 * 86_400
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)
MAX_NAME: Final = 256
"""Characters of the name of an agent, a capability, a session, a task or a secret."""
_MAX_REASON: Final = 1000
_LATEST: Final = 253_402_300_799  # the last second that a datetime can show


def exact(text: T) -> T:
    """Return text as plain `str`, and all else as it is: a subclass may claim to equal anything."""
    plain: Any = str.__str__(text) if isinstance(text, str) and type(text) is not str else text
    return cast("T", plain)


def check_name(what: str, name: object) -> str:
    """Return `name` when it can be that of an agent, a capability, a session, a task or a secret.

    Args:
        what: what it names, for the message.
        name: a string that is not blank, has no control characters and is at most 256 long.

    Raises:
        ConfigError: when it is not. Blank is an error, never the same as absent.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{what} must be a string, not {shown(name)}")
    if len(name) > MAX_NAME:
        raise ConfigError(f"{what} {shown(name)} is longer than {MAX_NAME} characters")
    if not name.strip():
        raise ConfigError(f"{what} must not be blank")
    if not name.isprintable() or name != name.strip():
        raise ConfigError(f"{what} {shown(name)} must be printable, without spaces around it")
    return str(name)


def check_text(what: str, text: object) -> str:
    """Return `text` when it is text, not blank, at most 256 long and writable as UTF-8.

    Raises:
        ConfigError: when it is not.
    """
    if not isinstance(text, str) or len(text) > MAX_NAME or not text.strip():
        raise ConfigError(f"{what} must be text of 1 to {MAX_NAME} characters, not {shown(text)}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {shown(text)} holds a lone surrogate") from None
    return str(text)


def check_reason(reason: object) -> str | None:
    """Return `reason` when it is text that every ledger can keep, or None.

    Raises:
        ConfigError: when it is neither.
    """
    if reason is None:
        return None
    if not isinstance(reason, str) or len(reason) > _MAX_REASON:
        raise ConfigError(f"reason must be text of at most {_MAX_REASON} characters, not {shown(reason)}")
    plain = exact(reason)
    try:
        plain.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"reason {shown(plain)} holds a lone surrogate") from None
    if "\0" in plain:
        raise ConfigError(f"reason {shown(plain)} holds a NUL")
    return plain


def check_uri(what: str, uri: object) -> str:
    """Return `uri` when it is a URI (RFC 3986) that can name an issuer.

    Raises:
        ConfigError: when it is not.
    """
    if not isinstance(uri, str) or len(uri) > MAX_NAME * 8 or not _URI.fullmatch(uri):
        raise ConfigError(f"{what} must be a URI such as 'https://auth.example', not {shown(uri)}")
    return str(uri)


def seconds(what: str, duration: object, *, maximum: int | None = None) -> int:
    """Return a length of time in whole seconds.

    Args:
        what: what it is the length of, for the message.
        duration: `30s`, `15m`, `2h`, `7d`, whole seconds, or a `timedelta` of whole seconds.
        maximum: the longest allowed, in seconds; ten years when there is none.

    Raises:
        ConfigError: when it is not such a length, is not positive, or exceeds the maximum.
    """
    number: float
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration)
        if match is None:
            raise ConfigError(f"{what} {shown(duration)} must be a number and a unit: 30s, 15m, 2h or 7d")
        number = int(match[1]) * _UNIT_SECONDS[match[2]]
    elif isinstance(duration, timedelta):
        number = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        number = duration
    else:
        raise ConfigError(f"{what} must be a length of time such as '10m', not {shown(duration)}")
    if not 0 < number <= _LONGEST or number != int(number):  # NaN fails the first comparison
        raise ConfigError(f"{what} must be a positive number of whole seconds")
    if maximum is not None and number > maximum:
        raise ConfigError(f"{what} is longer than the maximum of {maximum} seconds")
    return int(number)


def timestamp(what: str, when: object) -> int:
    """Return an aware datetime as whole seconds since the epoch, rounded down.

    Raises:
        ConfigError: when it is not a datetime, or is naive: nobody knows which time that means.
    """
    if not isinstance(when, datetime):
        raise ConfigError(f"{what} must be a datetime, not {shown(when)}")
    if when.tzinfo is None or when.utcoffset() is None:
        raise ConfigError(f"{what} must have a time zone, such as datetime.now(timezone.utc)")
    number = int(when.timestamp())
    if number < 0:
        raise ConfigError(f"{what} lies before 1970")
    return number


def moment(second: float) -> datetime:
    """Return seconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(second, UTC)


def items(what: str, values: object) -> Iterable[object]:
    """Return `values` when they are several of something, and not text.

    Raises:
        ConfigError: when they are not.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"{what} must be a list, not {shown(values)}")
    return cast("Iterable[object]", values)


def mapping(what: str, value: object) -> Mapping[str, object]:
    """Return `value` when it maps names to something.

    Raises:
        ConfigError: when it does not.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} must map names to values, not be {shown(value)}")
    members = cast("Mapping[object, object]", value)
    for name in members:
        if not isinstance(name, str):
            raise ConfigError(f"{what} must have names that are strings, not {shown(name)}")
    return cast("Mapping[str, object]", value)


def check_clock(clock: object) -> Clock:
    """Return `clock` when it can be called.

    Raises:
        ConfigError: when it cannot.
    """
    if not callable(clock):
        raise ConfigError("clock must be a callable that returns seconds since the epoch, as time.time")
    return cast("Clock", clock)


def read_clock(clock: Clock) -> float:
    """Return the time that `clock` gives.

    Raises:
        ConfigError: when it is not a finite number of seconds; nothing can be decided by such a clock.
    """
    try:
        now: object = clock()
    except Exception as error:  # whatever a foreign clock raises, it told no time
        raise ConfigError(f"the clock failed with {type(error).__name__}") from error
    if not isinstance(now, int | float) or not 0 <= now <= _LATEST:
        raise ConfigError("the clock did not return seconds since the epoch")
    return now

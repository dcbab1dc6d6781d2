"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError
from remit.names import seconds

if TYPE_CHECKING:
    from remit.names import Duration

__all__ = ["FrozenClock"]

_START: Final = 1_800_000_000


class FrozenClock:
    """A clock for issuers and guards that goes only when it is told to.

    It is called like `time.time`: `Guard(trust=[anchor], clock=FrozenClock())`.

    Args:
        now: the time at which it stands, in seconds since the epoch; a moment in January 2027 by default.

    Raises:
        ConfigError: when `now` is not a positive number.
    """

    __slots__ = ("now",)

    now: float
    """The time at which it stands, in seconds since the epoch. It may be set."""

    def __init__(self, now: float = _START) -> None:
        if isinstance(now, bool) or not isinstance(now, int | float) or not now > 0:
            raise ConfigError("a clock starts at a positive number of seconds since the epoch")
        self.now = float(now)

    def __call__(self) -> float:
        """Return the time at which it stands."""
        return self.now

    def advance(self, duration: Duration) -> float:
        """Let time pass, and return the new time.

        Args:
            duration: `30s`, `15m`, `2h`, `7d`, whole seconds, or a `timedelta`.

        Raises:
            ConfigError: when it is no positive length of time.
        """
        self.now += seconds("the time that passes", duration)
        return self.now

    def __repr__(self) -> str:
        return f"FrozenClock({self.now!r})"

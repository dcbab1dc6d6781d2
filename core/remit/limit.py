"""Limits: how often a capability may be used, how fast, and up to which sum."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.encoding import EncodingError
from remit.errors import ConfigError, shown
from remit.names import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.encoding import JsonObject, JsonValue

__all__ = ["Limit", "Rate", "micros", "parse_rate"]

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})?([smhd])", re.ASCII)
_MAX_COUNT: Final = 2**53 - 1
_MAX_RATE_USES: Final = 100_000
_MAX_RATE_SECONDS: Final = 90 * 86_400
_MICRO: Final = 1_000_000


class Rate(NamedTuple):
    """At most `uses` uses in any `seconds` seconds."""

    uses: int
    seconds: int


def micros(number: object) -> int | None:
    """Return a number as whole millionths, or None when it is none, negative or finer than that.

    Budgets are summed as integers, so that no ledger rounds and every ledger agrees.
    """
    if type(number) is int:
        scaled = number * _MICRO
    elif type(number) is float and isfinite(number):
        exact = Decimal(repr(number)) * _MICRO
        if exact != exact.to_integral_value():
            return None
        scaled = int(exact)
    else:
        return None
    return scaled if 0 <= scaled <= _MAX_COUNT else None


def parse_rate(text: object) -> Rate:
    """Return the rate that `text` spells: `10/m`, `3/30s`.

    Raises:
        ConfigError: when it is not a whole number of uses per whole number of s, m, h or d.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) and len(text) <= 32 else None  # noqa: PLR2004 - longer than any
    if match is None:
        raise ConfigError(f"rate {shown(text)} must be uses per time, such as '10/m' or '3/30s'")
    return _rate(int(match[1]), int(match[2] or 1) * _UNIT_SECONDS[match[3]])


def _rate(uses: int, seconds: int) -> Rate:
    if not (0 < uses <= _MAX_RATE_USES and 0 < seconds <= _MAX_RATE_SECONDS):
        raise ConfigError(f"rate: at most {_MAX_RATE_USES} uses in at most {_MAX_RATE_SECONDS} seconds")
    return Rate(uses, seconds)


class Limit:
    """How much a capability may be used. All that is given applies, in every link that gives one.

    Args:
        max_uses: how often the capability may be used in all, 1 or more.
        rate: uses per time in any sliding window, such as `10/m`.
        budget: argument name to the greatest sum of its values over all uses; up to six decimals.

    Raises:
        ConfigError: when nothing is given, or a number is not positive, finite or too large.
    """

    __slots__ = ("_budget", "_max_uses", "_rate")

    def __init__(
        self,
        *,
        max_uses: int | None = None,
        rate: str | None = None,
        budget: Mapping[str, float] | None = None,
    ) -> None:
        if max_uses is None and rate is None and not budget:
            raise ConfigError("Limit: needs max_uses, rate or budget; an empty limit would limit nothing")
        if max_uses is not None and (type(max_uses) is not int or not 0 < max_uses <= _MAX_COUNT):
            raise ConfigError("Limit: max_uses must be a whole number of 1 or more")
        self._max_uses = max_uses
        self._rate = None if rate is None else parse_rate(rate)
        self._budget: dict[str, int] = _budget({} if budget is None else budget)

    @property
    def max_uses(self) -> int | None:
        """How often the capability may be used in all."""
        return self._max_uses

    @property
    def rate(self) -> Rate | None:
        """Uses in a sliding window."""
        return self._rate

    @property
    def budget(self) -> dict[str, int]:
        """Argument name to its greatest sum, in millionths; a new dictionary each time."""
        return dict(self._budget)

    def to_json(self) -> JsonObject:
        """Return the limit as it stands in a token."""
        wire: JsonObject = {}
        if self._max_uses is not None:
            wire["max_uses"] = self._max_uses
        if self._rate is not None:
            wire["rate"] = {"uses": self._rate.uses, "seconds": self._rate.seconds}
        if self._budget:
            wire["budget"] = {name: _from_micros(total) for name, total in self._budget.items()}
        return wire

    @classmethod
    def parse(cls, wire: JsonValue) -> Limit:
        """Return the limit that a token carries.

        Raises:
            EncodingError: when it is not well-formed.
        """
        if not isinstance(wire, dict) or not wire or not wire.keys() <= {"max_uses", "rate", "budget"}:
            raise EncodingError("has a limit that is not well-formed")
        self = cls.__new__(cls)
        try:
            self._max_uses = _parse_uses(wire)
            self._rate = _parse_rate(wire)
            self._budget = _budget(wire["budget"]) if "budget" in wire else {}
        except ConfigError as error:
            raise EncodingError(f"has a limit that is not well-formed ({error})") from None
        if "budget" in wire and not self._budget:
            raise EncodingError("has an empty budget")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limit) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self._max_uses, self._rate, frozenset(self._budget.items())))

    def __repr__(self) -> str:
        return f"Limit({', '.join(f'{name}={value!r}' for name, value in self.to_json().items())})"


def _parse_uses(wire: JsonObject) -> int | None:
    uses = wire.get("max_uses")
    if "max_uses" in wire and (type(uses) is not int or not 0 < uses <= _MAX_COUNT):
        raise ConfigError("max_uses is not a whole number of 1 or more")
    return uses  # type: ignore[return-value]  # an int, or absent


def _parse_rate(wire: JsonObject) -> Rate | None:
    if "rate" not in wire:
        return None
    rate = wire["rate"]
    if not isinstance(rate, dict) or rate.keys() != {"uses", "seconds"}:
        raise ConfigError("rate is not an object of uses and seconds")
    uses, seconds = rate["uses"], rate["seconds"]
    if type(uses) is not int or type(seconds) is not int:
        raise ConfigError("rate has a part that is not a whole number")
    return _rate(uses, seconds)


def _budget(budget: object) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, total in mapping("budget", budget).items():
        scaled = micros(total)
        if not name.strip() or not scaled:
            raise ConfigError(
                f"budget of {shown(name)} must be more than 0 and at most {_MAX_COUNT // _MICRO},"
                " with at most six decimals"
            )
        totals[name] = scaled
    return totals


def _from_micros(total: int) -> JsonValue:
    return total // _MICRO if total % _MICRO == 0 else float(Decimal(total) / _MICRO)

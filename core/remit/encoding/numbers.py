"""Numbers that every implementation reads alike.

A number is *admissible* when its RFC 8785 form, which goes through an IEEE 754 double, denotes the
same number as the text it was read from (AAT draft, Section 3.4). ``0.1`` is; ``9007199254740993``
is not, since a double holds ``9007199254740992`` instead and a check would look at another value
than the tool.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Final

from remit.encoding.failure import EncodingError

__all__ = ["admissible", "number_text", "parse_fraction", "parse_whole", "whole"]

_SAFE: Final = 2**53  # up to here every integer is a double
_SURE_DIGITS: Final = 15  # that many always survive a double
_MAX_DIGITS: Final = 400  # the longest double written out has 309 digits before the point
_PLAIN_BELOW: Final = 21  # ECMAScript writes numbers under 1e21 without an exponent
_PLAIN_FROM: Final = 1e-4
_PLAIN_TO: Final = 1e16
_LEADING_ZEROS: Final = -7  # and those from 1e-6 on


def number_text(value: float) -> str:
    """Return `value` as RFC 8785, Section 3.2.2.3 writes it (ECMAScript's `Number::toString`).

    Raises:
        EncodingError: when `value` is NaN or infinite.
    """
    number = float(value)
    if _PLAIN_FROM <= abs(number) < _PLAIN_TO:  # here Python writes what ECMAScript does
        return repr(number).removesuffix(".0")
    if not isfinite(number):
        raise EncodingError("is not a finite number")
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)  # where the decimal point stands, counted from the first digit
    if len(text) <= point <= _PLAIN_BELOW:
        body = text + "0" * (point - len(text))
    elif 0 < point <= _PLAIN_BELOW:
        body = f"{text[:point]}.{text[point:]}"
    elif _LEADING_ZEROS < point - 1 < 0:
        body = "0." + "0" * -point + text
    else:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        body = f"{text[0]}{fraction}e{point - 1:+d}"
    return f"-{body}" if sign else body


def admissible(number: int | Decimal) -> bool:
    """Tell whether a double, written as RFC 8785 does, still denotes `number`."""
    try:
        return Decimal(number_text(float(number))) == number
    except (EncodingError, OverflowError):
        return False


def whole(number: int) -> int | float:
    """Return an integer in the form in which it is compared: beyond 2^53, the double that stands for it.

    Raises:
        EncodingError: when a double would change it.
    """
    if -_SAFE <= number <= _SAFE:
        return number
    if not admissible(number):
        raise EncodingError("holds a number that a double cannot represent")
    return float(number)


def parse_whole(text: str) -> int | float:
    """Return the number that a JSON number without fraction or exponent denotes."""
    if len(text) <= _SURE_DIGITS:
        return int(text)
    if len(text) > _MAX_DIGITS:
        raise EncodingError("holds a number that is too long")
    return whole(int(text))


def parse_fraction(text: str) -> float:
    """Return the double that a JSON number with a fraction or an exponent denotes."""
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return float(text)
    number = Decimal(text) if len(text) <= _MAX_DIGITS else None
    if number is None or not admissible(number):
        raise EncodingError("holds a number that a double cannot represent")
    return float(text)

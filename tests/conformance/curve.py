"""Just enough of edwards25519 to make the keys a verifier must refuse."""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
D: Final = -121665 * pow(121666, -1, P) % P
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
SIGN: Final = 1 << 255

Point = tuple[int, int]
IDENTITY: Final[Point] = (0, 1)


def add(a: Point, b: Point) -> Point:
    """Add two points of the curve."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(n: int, point: Point) -> Point:
    """`point` added to itself `n` times."""
    total = IDENTITY
    while n:
        if n & 1:
            total = add(total, point)
        point = add(point, point)
        n >>= 1
    return total


def x_of(y: int) -> int | None:
    """One of the two x for a y of the curve, or None where there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return None if (x * x - square) % P else x


def encode(point: Point) -> bytes:
    """The canonical 32 bytes of a point."""
    x, y = point
    return (y | (SIGN if x & 1 else 0)).to_bytes(32, "little")


def torsion() -> list[bytes]:
    """The eight points of small order, found by multiplying points of the curve by the prime order."""
    found: set[Point] = set()
    y = 3
    while len(found) < 8:
        x = x_of(y)
        if x is not None:
            found |= {times(ORDER, point) for point in ((x, y), (P - x, y))}
            found |= {add(a, b) for a in found for b in found}
        y += 1
    return sorted(encode(point) for point in found)


def over_the_modulus() -> list[bytes]:
    """Every encoding of a y between p and 2**255, with either sign: the same points under a second name."""
    return [(y | sign).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, SIGN)]


def negative_zero() -> list[bytes]:
    """x is 0 for y of 1 and -1, so the sign bit has no meaning there and may not be set."""
    return [(y | SIGN).to_bytes(32, "little") for y in (1, P - 1)]

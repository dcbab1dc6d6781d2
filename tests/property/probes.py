"""Values to try on constraints: made from what the constraints hold, its neighbours, and old tricks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from .wires import Wire

ALWAYS: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, -0.0, 1.0, 0.5, 2**53, 1e300, "", " ", "0", "1", "true", "é", "e\u0301", [], {}, [[]],
    [None], [0], [True], {"a": 1}, {"b": None}, ["", 0, None],
    "/", "//", "/data", "/data/", "/data2", "/data/..", "/data/../x", "/data/./x", "/data//x", "/data/\u2024\u2024/x",
    "/data/%2e%2e/x", "/data\\..\\x", "/data/x\x00", "data", "/DATA", "/data/x/", "/\uff0e\uff0e/x",
    "https://host@evil.example/", "https://host.example@evil.example/v1", "https://host.example.evil/v1/x",
    "https://host.example/v1/../x", "https://host.example/v1/%2e%2e/x", "https://HOST.example/v1", "HTTPS://host.example/v1",
    "https://host.example:443/v1", "https://host.example:8443/v1/x", "https://host.example/v1?x=/../", "https://host.example/v1#x",
    "https://host.example\\@evil.example/v1", "//host.example/v1", "https://host.example/v10", "https://host.example./v1",
    "x@acme.example", "X@ACME.EXAMPLE", "x@acme.example.evil", "x@sub.acme.example", "x@y@acme.example", "@acme.example",
    "x@evil.example,y@acme.example", "<x@acme.example>", "x@acme.example\n",
    "10.0.0.1", "010.0.0.1", "10.1", "::ffff:10.0.0.1", "::10.0.0.1", "10.0.0.1%eth0", "0xa000001", 167772161, "10.255.255.255",
    "11.0.0.0", "2001:db8::1", "2001:DB8::1", "2001:db8:0::1", "::1", "::ffff:a00:1",
)  # fmt: skip


def leaves(value: Any) -> Iterator[Any]:
    """Every value inside a constraint, itself included, without the names of members."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name != "constraint_type":
                yield from leaves(item)
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
        yield value
    else:
        yield value


def neighbours(value: Any) -> Iterator[Any]:
    """A value and what lies just beside it."""
    yield value
    if isinstance(value, bool):
        yield from (int(value), not value, str(value).lower())
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1, value + 0.5, value - 0.5, str(value), -value, bool(value))
        yield from (math.nextafter(value, math.inf), math.nextafter(value, -math.inf))
        if abs(value) <= 2**53:
            yield float(value)
            if value == int(value):
                yield int(value)
    elif isinstance(value, str):
        yield from (
            value + "x",
            value[:-1],
            value + "/x",
            value.rstrip("/") + "/x/y",
            value + "/../x",
            value + "2",
        )
        yield from (value.upper(), value + " ", value + "\n", "x" + value, "x@" + value, value + "?q=1")
        yield value.partition("/")[0]
    elif isinstance(value, list):
        yield from (
            ([*value, value[0]], value[:-1], value[1:], value[::-1], [*value, None]) if value else ([None],)
        )


def sound(value: Any) -> bool:
    """A JSON value whose numbers a double can hold."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= 2**53
    if isinstance(value, list):
        return all(map(sound, value))
    if isinstance(value, dict):
        return all(map(sound, value.values()))
    return True


def _objects(wire: Wire) -> Iterator[Any]:
    """Objects and lists that `fields` and `each` may accept, put together from probes for what is inside."""
    kind = wire["constraint_type"]
    if kind == "fields":
        inner = {name: list(around(field))[:6] for name, field in wire["fields"].items()}
        for place in range(6):
            made = {name: values[min(place, len(values) - 1)] for name, values in inner.items()}
            yield made
            yield {**made, "d": 1}
            for name in made:
                yield {other: value for other, value in made.items() if other != name}
    elif kind == "each":
        values = list(around(wire["constraint"]))[:6]
        yield from ([value] for value in values)
        yield values[:2]
        yield [*values[:1] * 2, None]
    elif kind in {"all", "any"}:
        for clause in wire["constraints"]:
            yield from _objects(clause)
    elif kind in {"contains", "subset"}:
        values = wire.get("required") or wire.get("allowed") or []
        yield from (
            [*values, 7],
            values[:1],
            values * 2,
            [*values, True],
            [1.0 if value == 1 else value for value in values],
        )


def around(wire: Wire) -> Iterator[Any]:
    """Values that matter to a constraint."""
    yield from _objects(wire)
    for leaf in leaves({name: value for name, value in wire.items() if name != "constraint_type"}):
        yield from neighbours(leaf)


def probes(*wires: Wire) -> list[Any]:
    """Values that matter to any of `wires`, and those that always matter."""
    found = [value for wire in wires for value in around(wire)]
    return [value for value in (*found, *ALWAYS) if sound(value)]

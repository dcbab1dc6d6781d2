"""Constraints as JSON, by strategy: at random, and as mutations that are often narrower.

They are kept in the wire form of the draft, so that probes can be made from whatever values a constraint holds
without asking Remit; `build` makes the public object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

import remit

Wire = dict[str, Any]

NUMBERS: Final = (0, 1, -1, 2, 5, 10, 0.5, 1.5, -0.0, 1.0, 100, 1e15, 2**53, -(2**53), 1e300, 5e-324)
TEXTS: Final = (
    "",
    "a",
    "ab",
    "abc",
    "A",
    "é",
    "e\u0301",
    "1",
    "0",
    "true",
    "null",
    "😀",
    "a b",
    "/data",
    "x@acme.example",
)
SCALARS: Final = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.booleans(), st.none())
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abk"), inner, max_size=2),
    max_leaves=4,
)
ROOTS: Final = ("/", "/data", "/data/x", "/data/x/y", "/data2", "/dat", "/etc")
BASES: Final = (
    "https://host.example", "https://host.example/v1", "https://host.example/v1/x", "https://host.example/v10",
    "https://host.example:8443/v1", "http://host.example/v1", "https://evil.example", "https://host.example.evil/v1",
)  # fmt: skip
DOMAINS: Final = ("acme.example", "sub.acme.example", "example", "acme.example.evil")
NETWORKS: Final = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/9", "10.0.0.1/32", "::/0", "2001:db8::/32",
                   "::ffff:0:0/96", "2001:db8::1/128")  # fmt: skip
FIELD_NAMES: Final = ("a", "b", "c")


def _c(kind: str, **members: Any) -> Wire:
    return {"constraint_type": kind, **members}


def _range(low: float | None, high: float | None, low_in: bool | None, high_in: bool | None) -> Wire:
    if low is not None and high is not None and low > high:
        low, high = high, low
    wire = _c("range")
    if low is None and high is None:
        high = 10
    for name, bound, inclusive in (("min", low, low_in), ("max", high, high_in)):
        if bound is not None:
            wire[name] = bound
            if inclusive is not None:
                wire[name + "_inclusive"] = inclusive
    return wire


_flag: Final = st.none() | st.booleans()
_number: Final = st.sampled_from(NUMBERS)
LEAVES: Final[dict[str, st.SearchStrategy[Wire]]] = {
    "exact": SCALARS.map(lambda value: _c("exact", value=value)),
    "range": st.builds(_range, st.none() | _number, st.none() | _number, _flag, _flag),
    "one_of": st.lists(VALUES, min_size=1, max_size=4).map(lambda values: _c("one_of", values=values)),
    "not_one_of": st.lists(VALUES, min_size=1, max_size=3).map(
        lambda values: _c("not_one_of", excluded=values)
    ),
    "contains": st.lists(VALUES, min_size=1, max_size=3).map(lambda values: _c("contains", required=values)),
    "subset": st.lists(VALUES, min_size=1, max_size=3).map(lambda values: _c("subset", allowed=values)),
    "wildcard": st.just(_c("wildcard")),
    "path": st.sampled_from(ROOTS).map(lambda root: _c("path", root=root)),
    "url": st.sampled_from(BASES).map(lambda base: _c("url", base=base)),
    "email": st.sampled_from(DOMAINS).map(lambda domain: _c("email", domain=domain)),
    "cidr": st.sampled_from(NETWORKS).map(lambda network: _c("cidr", network=network)),
    "prefix": st.sampled_from([text for text in TEXTS if text]).map(lambda text: _c("prefix", prefix=text)),
    "max_length": st.sampled_from((0, 1, 2, 3, 5, 100)).map(lambda length: _c("max_length", max=length)),
}


def _fields(inner: st.SearchStrategy[Wire]) -> st.SearchStrategy[Wire]:
    @st.composite
    def make(draw: st.DrawFn) -> Wire:
        fields = draw(st.dictionaries(st.sampled_from(FIELD_NAMES), inner, min_size=1, max_size=3))
        omitted = draw(st.lists(st.sampled_from(sorted(fields)), unique=True))
        return _c("fields", fields=fields, **({"may_omit": sorted(omitted)} if omitted else {}))

    return make()


def _nested(inner: st.SearchStrategy[Wire]) -> st.SearchStrategy[Wire]:
    clauses = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        clauses.map(lambda found: _c("all", constraints=found)),
        clauses.map(lambda found: _c("any", constraints=found)),
        inner.map(lambda found: _c("each", constraint=found)),
        _fields(inner),
    )


WIRES: Final = st.recursive(st.one_of(*LEAVES.values()), _nested, max_leaves=5)
TYPES: Final = (*LEAVES, "all", "any", "each", "fields")

CLASSES: Final[dict[str, Callable[[Wire], remit.Constraint]]] = {
    "exact": lambda w: remit.Exact(w["value"]),
    "range": lambda w: remit.Range(**{name: value for name, value in w.items() if name != "constraint_type"}),
    "one_of": lambda w: remit.OneOf(*w["values"]),
    "not_one_of": lambda w: remit.NotOneOf(*w["excluded"]),
    "contains": lambda w: remit.Contains(*w["required"]),
    "subset": lambda w: remit.Subset(*w["allowed"]),
    "wildcard": lambda _: remit.Anything(),
    "all": lambda w: remit.AllOf(*map(build, w["constraints"])),
    "any": lambda w: remit.AnyOf(*map(build, w["constraints"])),
    "path": lambda w: remit.Path(w["root"]),
    "url": lambda w: remit.Url(w["base"]),
    "email": lambda w: remit.Email(w["domain"]),
    "cidr": lambda w: remit.Cidr(w["network"]),
    "prefix": lambda w: remit.Prefix(w["prefix"]),
    "max_length": lambda w: remit.MaxLength(w["max"]),
    "each": lambda w: remit.Each(build(w["constraint"])),
    "fields": lambda w: remit.Fields(
        **{
            name: build(field).optional() if name in w.get("may_omit", ()) else build(field)
            for name, field in w["fields"].items()
        }
    ),
}


def build(wire: Wire) -> remit.Constraint:
    """The public object for a constraint in its wire form, through its constructor."""
    return CLASSES[wire["constraint_type"]](wire)

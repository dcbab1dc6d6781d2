"""Children of a constraint: mutations, of which a good share is narrower and the rest only looks it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

from .probes import sound
from .wires import BASES, DOMAINS, NETWORKS, NUMBERS, ROOTS, SCALARS, VALUES, WIRES, Wire

Draw = st.DrawFn


def _same(draw: Draw, parent: Wire) -> Wire:  # one shape for all
    return deepcopy(parent)


def _exact(draw: Draw, parent: Wire) -> Wire:
    value = parent["value"]
    twins = [value, value, bool(value) if value in (0, 1) else value, draw(SCALARS)]
    if isinstance(value, int) and abs(value) <= 2**53:
        twins.append(float(value))
    return {"constraint_type": "exact", "value": draw(st.sampled_from(twins))}


def _range(draw: Draw, parent: Wire) -> Wire:
    child = dict(parent)
    if draw(st.integers(0, 3)) == 0:
        value = draw(st.sampled_from([*NUMBERS, parent.get("min", 0), parent.get("max", 0), True, "1"]))
        return {"constraint_type": "exact", "value": value}
    for name, sign in (("min", 1), ("max", -1)):
        step = draw(st.sampled_from((0, 0, 0.5, 1, 1, -1)))
        if name in child:
            child[name] += sign * step
        elif step > 0:
            child[name] = draw(st.sampled_from(NUMBERS))
        if name in child and draw(st.booleans()):
            child[name + "_inclusive"] = draw(st.booleans())
    if child.get("min", 0) > child.get("max", child.get("min", 0)) or not sound(child):
        return dict(parent)
    return child


def _list(member: str, *, grows: bool) -> Callable[[Draw, Wire], Wire]:
    def mutate(draw: Draw, parent: Wire) -> Wire:
        values = parent[member]
        how = draw(st.integers(0, 5))
        if how == 0:
            values = [*values, draw(VALUES)]
        elif how == 1 or not grows:
            values = draw(st.lists(st.sampled_from(values), min_size=1, max_size=len(values)))
        elif grows:
            values = [*values, *draw(st.lists(VALUES, max_size=2))]
        if parent["constraint_type"] == "one_of" and how == 2:
            value = values[0]
            if not isinstance(value, list | dict):
                return {"constraint_type": "exact", "value": value}
        return {**parent, member: list(values)}

    return mutate


def _choice(
    member: str, choices: tuple[str, ...], suffixes: tuple[str, ...] = ()
) -> Callable[[Draw, Wire], Wire]:
    def mutate(draw: Draw, parent: Wire) -> Wire:
        value: str = parent[member]
        if len(suffixes) > 0 and draw(st.booleans()):
            text = value.rstrip("/") + draw(st.sampled_from(suffixes))
            text = text if "/" in text else value
        else:
            text = draw(st.sampled_from([value, *choices]))
        how = draw(st.integers(0, 4))
        if how == 0:
            return {"constraint_type": "exact", "value": text}
        if how == 1:
            return {"constraint_type": "one_of", "values": [text, value]}
        return {**parent, member: text}

    return mutate


def _prefix(draw: Draw, parent: Wire) -> Wire:
    text = parent["prefix"]
    longer = text + draw(st.sampled_from(("", "x", "/", "é")))
    return {**parent, "prefix": draw(st.sampled_from((longer, longer, text[:-1] or text, text.upper())))}


def _max_length(draw: Draw, parent: Wire) -> Wire:
    return {**parent, "max": max(0, parent["max"] + draw(st.sampled_from((-2, -1, 0, 0, 1))))}


def _clauses(draw: Draw, parent: Wire) -> Wire:
    clauses = [
        narrowed(draw, clause) if draw(st.booleans()) else deepcopy(clause)
        for clause in parent["constraints"]
    ]
    how = draw(st.integers(0, 3))
    if how == 0:
        clauses.append(draw(WIRES))
    elif how == 1 and len(clauses) > 1:
        clauses.pop(draw(st.integers(0, len(clauses) - 1)))
    return {**parent, "constraints": clauses}


def _each(draw: Draw, parent: Wire) -> Wire:
    how = draw(st.integers(0, 4))
    if how == 0:
        return {"constraint_type": "subset", "allowed": draw(st.lists(VALUES, min_size=1, max_size=2))}
    if how == 1:
        return {
            "constraint_type": "one_of",
            "values": draw(st.lists(st.lists(VALUES, max_size=2), min_size=1, max_size=2)),
        }
    return {**parent, "constraint": narrowed(draw, parent["constraint"])}


def _fields(draw: Draw, parent: Wire) -> Wire:
    fields = {
        name: narrowed(draw, field) if draw(st.booleans()) else field
        for name, field in parent["fields"].items()
    }
    omit = [name for name in parent.get("may_omit", ()) if draw(st.booleans())]
    how = draw(st.integers(0, 6))
    if how == 0:
        fields[draw(st.sampled_from("abcd"))] = draw(WIRES)
    elif how == 1 and len(fields) > 1:
        fields.pop(draw(st.sampled_from(sorted(fields))))
    elif how == 2:
        omit.append(draw(st.sampled_from(sorted(fields))))
    omit = sorted({name for name in omit if name in fields})
    return {"constraint_type": "fields", "fields": fields, **({"may_omit": omit} if omit else {})}


MUTATIONS: Final[dict[str, Callable[[Draw, Wire], Wire]]] = {
    "exact": _exact,
    "range": _range,
    "one_of": _list("values", grows=False),
    "not_one_of": _list("excluded", grows=True),
    "contains": _list("required", grows=True),
    "subset": _list("allowed", grows=False),
    "wildcard": lambda draw, _: draw(WIRES),
    "all": _clauses,
    "any": _clauses,
    "path": _choice("root", ROOTS, ("/x", "/x/y", "2", "")),
    "url": _choice("base", BASES, ("/x", "/v1", "0", "")),
    "email": _choice("domain", DOMAINS),
    "cidr": _choice("network", NETWORKS),
    "prefix": _prefix,
    "max_length": _max_length,
    "each": _each,
    "fields": _fields,
}


def narrowed(draw: Draw, parent: Wire) -> Wire:
    """A child of `parent`: most often a mutation, sometimes the same, sometimes anything."""
    how = draw(st.integers(0, 9))
    if how == 0:
        return draw(WIRES)
    mutate = _same if how == 1 else MUTATIONS[parent["constraint_type"]]
    return mutate(draw, parent)


@st.composite
def pairs(draw: Draw, parents: st.SearchStrategy[Wire] = WIRES) -> tuple[Wire, Wire]:
    """A parent and a child."""
    parent = draw(parents)
    return parent, narrowed(draw, parent)


@st.composite
def triples(draw: Draw) -> tuple[Wire, Wire, Wire]:
    """A parent, a child and a grandchild."""
    parent, child = draw(pairs())
    return parent, child, narrowed(draw, child)


@st.composite
def maps(draw: Draw) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two argument maps: name to (constraint, optional), and `"*"` to True where other arguments are allowed."""
    names: st.SearchStrategy[str] = st.sampled_from(["v", "w", "x"])
    entry = st.tuples(WIRES, st.booleans())
    parent: dict[str, Any] = {**draw(st.dictionaries(names, entry, max_size=3))}
    if not parent or draw(st.booleans()):
        parent["*"] = True
    child: dict[str, Any] = {}
    for name, value in parent.items():
        if name == "*":
            if draw(st.integers(0, 2)):
                child["*"] = True
            continue
        wire, optional = value
        how = draw(st.integers(0, 9))
        if how == 0:
            continue
        child[name] = (
            narrowed(draw, wire) if draw(st.booleans()) else wire,
            (optional and bool(how % 2)) or how == 1,
        )
    if draw(st.integers(0, 3)) == 0:
        child[draw(names)] = draw(entry)
    if not draw(st.integers(0, 9)) or not child:
        child["*"] = True
    return parent, child

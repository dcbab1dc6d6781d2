"""Constraints on the wire: well-formed, of a known type, not too deep, and meaning what they say."""

from __future__ import annotations

from typing import Any, Final

import pytest

from .forge import Raw, Story, story
from .judge import ARGUMENT, STRUCTURE, change_is_fatal, denies, permits

MAX_CONSTRAINT_DEPTH: Final = 32

GOOD: Final[dict[str, dict[str, Any]]] = {
    "exact": {"value": "a"},
    "range": {"min": 0, "max": 10, "min_inclusive": True, "max_inclusive": False},
    "one_of": {"values": ["a", 1, None, [1], {"k": 1}]},
    "not_one_of": {"excluded": ["a", 1]},
    "contains": {"required": ["a", 1]},
    "subset": {"allowed": ["a", 1]},
    "wildcard": {},
    "all": {"constraints": [{"constraint_type": "wildcard"}]},
    "any": {"constraints": [{"constraint_type": "wildcard"}]},
    "path": {"root": "/data"},
    "url": {"base": "https://api.example:8443/v1"},
    "email": {"domain": "acme.example"},
    "cidr": {"network": "10.0.0.0/8"},
    "prefix": {"prefix": "ab"},
    "max_length": {"max": 5},
    "each": {"constraint": {"constraint_type": "wildcard"}},
    "fields": {"fields": {"a": {"constraint_type": "wildcard"}}, "may_omit": ["a"]},
}
"""One well-formed constraint of each of the seventeen types, without its `constraint_type`."""

ALLOWED: Final[dict[str, set[str]]] = {
    "exact.value": {"null", "true", "one", "text", "empty text", "minus"},
    "range.min_inclusive": {"true"},
    "range.max_inclusive": {"true"},
    "range.min": {"one", "minus"},
    "range.max": {"one"},
    "not_one_of.excluded": {"list", "list of null"},
    "one_of.values": {"list of null"},
    "contains.required": {"list", "list of null"},
    "subset.allowed": {"list", "list of null"},
    "prefix.prefix": {"text"},
    "email.domain": {"text"},
    "max_length.max": {"one"},
    "fields.may_omit": {"list"},
}
"""Replacements that leave the constraint well-formed."""

ODD: Final[dict[str, Any]] = {
    "null": None,
    "true": True,
    "one": 1,
    "minus": -1,
    "fraction": 1.5,
    "text": "x",
    "empty text": "",
    "list": [],
    "list of null": [None],
    "object": {},
    "too precise": Raw("1.00000000000000001"),
    "surrogate": Raw('"\\ud800"'),
    "NaN": Raw("NaN"),
}


def _with(constraint: Any) -> Story:
    """A capability whose argument `v`, never passed, may be left out: only its form can be at fault."""
    return story(
        0, tools={"t": {"v": constraint, "x": {"constraint_type": "wildcard"}}}, tool="t", args={"x": 1}
    )


def _wire(kind: str, **members: Any) -> dict[str, Any]:
    return {"constraint_type": kind, "optional": True, **GOOD[kind], **members}


def _refused(constraint: Any) -> None:
    denies(_with(constraint), STRUCTURE)


@pytest.mark.parametrize("kind", GOOD)
def test_a_well_formed_constraint_of_each_type_is_read(kind: str) -> None:
    """The seventeen constraint types: nine of the draft, eight of Remit."""
    permits(_with(_wire(kind)))
    denies(_with({"constraint_type": kind, **GOOD[kind]}), ARGUMENT)


@pytest.mark.parametrize("kind", GOOD)
def test_a_member_its_type_does_not_define_is_refused(kind: str) -> None:
    """It has no members other than `constraint_type`, `optional`, and the members its type defines."""
    permits(_with(_wire(kind)))
    for name in ("x", "Value", "values ", "comment", "type", "Optional"):
        _refused(_wire(kind, **{name: "a"}))
        _refused(_wire(kind, **{name: None}))


OPTIONAL_MEMBERS: Final = {
    "range.min",
    "range.max",
    "fields.may_omit",
    "range.min_inclusive",
    "range.max_inclusive",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in GOOD for name in GOOD[kind]])
def test_a_member_that_is_missing_is_refused(kind: str, name: str) -> None:
    """A constraint is well-formed when it has the members its type defines."""
    permits(_with(_wire(kind)))
    wire = _wire(kind)
    del wire[name]
    if f"{kind}.{name}" not in OPTIONAL_MEMBERS:
        _refused(wire)
    elif f"{kind}.{name}" in {"range.min", "range.max"}:
        _refused(wire)  # its `…_inclusive` is present only with the corresponding bound
        del wire[name + "_inclusive"]
        permits(_with(wire))
    else:
        permits(_with(wire))


@pytest.mark.parametrize(
    ("kind", "name", "odd"),
    [
        (kind, name, odd)
        for kind in GOOD
        for name in GOOD[kind]
        for odd in ODD
        if odd not in ALLOWED.get(f"{kind}.{name}", set())
    ],
)
def test_a_member_of_the_wrong_kind_is_refused(kind: str, name: str, odd: str) -> None:
    """Enforcement points MUST reject a token containing a constraint that is not well-formed."""
    if (kind, odd) in {("exact", "fraction"), ("range", "fraction")} and not name.endswith("inclusive"):
        permits(_with(_wire(kind, **{name: ODD[odd]})))
    else:
        change_is_fatal(
            lambda made: made.root.tools["t"].update(v=_wire(kind, **{name: ODD[odd]})),
            STRUCTURE,
            base=lambda: _with(_wire(kind)),
        )


@pytest.mark.parametrize(("place", "odds"), ALLOWED.items())
def test_a_member_of_the_right_kind_is_read(place: str, odds: set[str]) -> None:
    """The values that the test above leaves out are well-formed."""
    kind, _, name = place.partition(".")
    for odd in sorted(odds):
        permits(_with(_wire(kind, **{name: ODD[odd]})))


ILL_FORMED: Final[dict[str, dict[str, Any]]] = {
    "range upside down": _wire("range", min=11),
    "range with text bounds": _wire("range", max="10"),
    "range with infinite bound": _wire("range", max=Raw("Infinity")),
    "range inclusive without bound": {"constraint_type": "range", "max": 1, "min_inclusive": True},
    "exact of a list": _wire("exact", value=["a"]),
    "exact of an object": _wire("exact", value={"a": 1}),
    "one_of of nothing": _wire("one_of", values=[]),
    "one_of of an object": _wire("one_of", values={"a": 1}),
    "all of nothing": _wire("all", constraints=[]),
    "any of nothing": _wire("any", constraints=[]),
    "all of a bare value": _wire("all", constraints=["a"]),
    "any with an unknown clause": _wire(
        "any", constraints=[{"constraint_type": "wildcard"}, {"constraint_type": "x"}]
    ),
    "all with an optional clause": _wire(
        "all", constraints=[{"constraint_type": "wildcard", "optional": True}]
    ),
    "all with a clause that says optional false": _wire(
        "all", constraints=[{"constraint_type": "wildcard", "optional": False}]
    ),
    "any with an optional clause": _wire(
        "any", constraints=[{"constraint_type": "wildcard", "optional": True}]
    ),
    "each with an optional clause": _wire(
        "each", constraint={"constraint_type": "wildcard", "optional": True}
    ),
    "fields with an unknown type": _wire(
        "fields", fields={"a": {"constraint_type": "regex", "pattern": "."}}
    ),
    "fields that may omit a stranger": _wire("fields", may_omit=["b"]),
    "all with an empty any inside": _wire("all", constraints=[{"constraint_type": "any", "constraints": []}]),
    "optional as text": _wire("exact", optional="true"),
    "optional as number": _wire("exact", optional=1),
    "optional null": _wire("exact", optional=None),
    "path relative": _wire("path", root="data"),
    "path with dots": _wire("path", root="/data/../etc"),
    "path with a dot": _wire("path", root="/data/./x"),
    "path with an empty segment": _wire("path", root="/data//x"),
    "path with NUL": _wire("path", root="/data\u0000"),
    "path with a backslash": _wire("path", root="/data\\x"),
    "url without a scheme": _wire("url", base="api.example/v1"),
    "url without a host": _wire("url", base="https:///v1"),
    "url with a user": _wire("url", base="https://user@api.example"),
    "url with a fragment": _wire("url", base="https://api.example/#x"),
    "url with a query": _wire("url", base="https://api.example/?x"),
    "url with dots": _wire("url", base="https://api.example/v1/../admin"),
    "url with a bad port": _wire("url", base="https://api.example:99999999"),
    "url with white space": _wire("url", base="https://api.example /v1"),
    "email with a local part": _wire("email", domain="a@acme.example"),
    "email with an at": _wire("email", domain="@acme.example"),
    "email with white space": _wire("email", domain="acme.example "),
    "cidr with host bits": _wire("cidr", network="10.0.0.1/8"),
    "cidr with a long mask": _wire("cidr", network="10.0.0.0/33"),
    "cidr with a name": _wire("cidr", network="localhost/8"),
    "cidr with leading zeros": _wire("cidr", network="010.0.0.0/8"),
    "prefix of nothing": _wire("prefix", prefix=""),
    "max_length below zero": _wire("max_length", max=-1),
    "max_length as a float": _wire("max_length", max=Raw("1.5")),
    "max_length true": _wire("max_length", max=True),
}


@pytest.mark.parametrize("name", ILL_FORMED)
def test_a_constraint_that_is_not_well_formed_is_refused(name: str) -> None:
    """Each *rejecting* odd input rather than normalising it."""
    wire = ILL_FORMED[name]
    permits(_with(_wire(wire["constraint_type"])))
    _refused(wire)


@pytest.mark.parametrize(
    "kind",
    ["regex", "glob", "cel", "datalog", "path_containment", "Exact", "EXACT", "exact ", "", "*", "wildcard\u0000",
     "allof", "not", None, True, 1, ["exact"], {"exact": 1}],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("where", ["top", "all", "any", "each", "fields", "another tool"])
def test_an_unknown_type_is_refused_wherever_it_stands(kind: Any, where: str) -> None:
    """MUST deny if they encounter a `constraint_type` they do not recognize (fail-closed behavior)."""
    unknown = {"constraint_type": kind}
    known = {"constraint_type": "wildcard"}

    def wrap(inner: dict[str, Any]) -> dict[str, Any]:
        return {
            "top": {**inner, "optional": True},
            "all": _wire("all", constraints=[known, inner]),
            "any": _wire("any", constraints=[known, inner]),
            "each": _wire("each", constraint=inner),
            "fields": _wire("fields", fields={"a": known, "b": inner}),
            "another tool": {**known, "optional": True},
        }[where]

    def build(inner: dict[str, Any]) -> Story:
        made = _with(wrap(inner))
        if where == "another tool":
            made.root.tools["never called"] = {"v": inner}
        return made

    permits(build(known))
    denies(build(unknown), STRUCTURE)


def _nest(kind: str, depth: int) -> Raw:
    """Constraints inside each other, as text: Python gives up on deep objects before a guard should."""
    inside = {"each": '"constraint":%s', "fields": '"fields":{"a":%s}'}.get(kind, '"constraints":[%s]')
    text = '{"constraint_type":"wildcard"}'
    for _ in range(depth - 1):
        text = f'{{"constraint_type":"{kind}",{inside % text}}}'
    return Raw(text[:-1] + ',"optional":true}')


@pytest.mark.parametrize("kind", ["all", "any"])
def test_clauses_nest_32_deep_and_no_deeper(kind: str) -> None:
    """MUST reject any constraint tree whose nesting depth exceeds MAX_CONSTRAINT_DEPTH; 32 is RECOMMENDED."""
    permits(_with(_nest(kind, MAX_CONSTRAINT_DEPTH)))
    denies(_with(_nest(kind, MAX_CONSTRAINT_DEPTH + 1)), STRUCTURE)
    denies(_with(_nest(kind, 900)), STRUCTURE)


@pytest.mark.parametrize("kind", ["each", "fields"])
def test_elements_and_fields_do_not_nest_without_end(kind: str) -> None:
    """MUST enforce a finite MAX_CONSTRAINT_DEPTH to prevent resource exhaustion."""
    permits(_with(_nest(kind, 8)))
    denies(_with(_nest(kind, 900)), STRUCTURE)


def test_mixed_nesting_is_counted_together() -> None:
    """An `all` or `any` has depth one more than its deepest clause."""

    def mixed(depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {"constraint_type": "exact", "value": 1}
        for level in range(depth - 1):
            shallow = {"constraint_type": "wildcard"}
            made = {"constraint_type": ("all", "any")[level % 2], "constraints": [shallow, made, shallow]}
        return {**made, "optional": True}

    permits(_with(mixed(MAX_CONSTRAINT_DEPTH)))
    denies(_with(mixed(MAX_CONSTRAINT_DEPTH + 1)), STRUCTURE)


@pytest.mark.parametrize(
    "star",
    [
        {"constraint_type": "exact", "value": 1},
        {"constraint_type": "wildcard", "optional": True},
        {"constraint_type": "wildcard", "optional": False},
        {"constraint_type": "wildcard", "x": 1},
        {"constraint_type": "all", "constraints": [{"constraint_type": "wildcard"}]},
        {},
        None,
        "wildcard",
        [],
        True,
    ],
    ids=repr,
)
def test_the_star_is_a_plain_wildcard(star: Any) -> None:
    """A `"*"` entry is a `wildcard` constraint with no `optional` member."""

    def base() -> Story:
        return story(0, tools={"t": {"*": {"constraint_type": "wildcard"}}}, tool="t", args={"x": 1})

    change_is_fatal(lambda made: made.root.tools["t"].update({"*": star}), STRUCTURE, base)


def test_an_argument_named_star_is_an_unnamed_argument() -> None:
    """A tool argument literally named `"*"` is treated as unnamed."""
    star = {"constraint_type": "wildcard"}
    permits(story(0, tools={"t": {"*": star}}, tool="t", args={"*": 1}))
    permits(story(0, tools={"t": {}}, tool="t", args={"*": 1}))
    closed = {"t": {"x": star}}
    permits(story(0, tools=closed, tool="t", args={"x": 1}))
    denies(story(0, tools=closed, tool="t", args={"x": 1, "*": 1}), ARGUMENT)

"""Every constraint, as a policy file spells it, and as a token carries it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit
from remit import (
    AllOf,
    AnyOf,
    Anything,
    Capability,
    Cidr,
    Constraint,
    Contains,
    Each,
    Email,
    Exact,
    Fields,
    MaxLength,
    NotOneOf,
    OneOf,
    Path,
    Prefix,
    Range,
    Subset,
    Url,
)
from remit.config.misfit import Misfit
from remit.config.spelling import CONSTRAINT_KEYS, read_constraint
from remit.constraints import CONSTRAINT_TYPES

from .support import policy

SPELLED: dict[str, tuple[str, Constraint]] = {
    "exact": ("{ exact = 'ACME' }", Exact("ACME")),
    "plain-text": ("'ACME'", Exact("ACME")),
    "plain-number": ("7", Exact(7)),
    "plain-fraction": ("0.5", Exact(0.5)),
    "plain-flag": ("false", Exact(False)),
    "range": ("{ range = { min = 1, max = 9, max_inclusive = false } }", Range(min=1, max=9, max_inclusive=False)),
    "range-short": ("{ min = 1, min_inclusive = false, max = 2.5 }", Range(min=1, min_inclusive=False, max=2.5)),
    "range-max": ("{ max = 1_000 }", Range(max=1000)),
    "one_of": ("{ one_of = ['a', 1, true] }", OneOf("a", 1, True)),
    "not_one_of": ("{ not_one_of = ['a'] }", NotOneOf("a")),
    "contains": ("{ contains = ['a', { b = 1 }] }", Contains("a", {"b": 1})),
    "subset": ("{ subset = ['a', ['b']] }", Subset("a", ["b"])),
    "all_of": ("{ all_of = [{ prefix = 'a' }, { max_length = 3 }] }", AllOf(Prefix("a"), MaxLength(3))),
    "any_of": ("{ any_of = ['a', { prefix = 'b' }] }", AnyOf("a", Prefix("b"))),
    "anything": ("{ anything = true }", Anything()),
    "path": ("{ path = '/srv/reports' }", Path("/srv/reports")),
    "url": ("{ url = 'https://api.example/v1' }", Url("https://api.example/v1")),
    "email": ("{ email = 'acme.example' }", Email("acme.example")),
    "cidr": ("{ cidr = '10.0.0.0/8' }", Cidr("10.0.0.0/8")),
    "prefix": ("{ prefix = 'inv-' }", Prefix("inv-")),
    "max_length": ("{ max_length = 10 }", MaxLength(10)),
    "each": ("{ each = { one_of = ['a', 'b'] } }", Each(OneOf("a", "b"))),
    "each-plain": ("{ each = 'a' }", Each("a")),
    "fields": ("{ fields = { a = 1, b = { max = 2, optional = true } } }", Fields(a=1, b=Range(max=2).optional())),
    "optional": ("{ exact = 'x', optional = true }", Exact("x").optional()),
    "not-optional": ("{ exact = 'x', optional = false }", Exact("x")),
    "range-optional": ("{ max = 3, optional = true }", Range(max=3).optional()),
    "wire": ("{ constraint_type = 'range', max = 3, optional = true }", Range(max=3).optional()),
    "wire-inside": ("{ any_of = [{ constraint_type = 'exact', value = 1 }, 2] }", AnyOf(1, 2)),
    "deep": ("{ each = { fields = { to = { any_of = [{ email = 'a.example' }, 'b'] } } } }",
             Each(Fields(to=AnyOf(Email("a.example"), "b")))),
}  # fmt: skip


def constraint_of(spelled: str) -> Constraint:
    """What a file makes of a constraint on an argument."""
    [capability] = (
        policy(f"[agents.a]\ncapabilities = [{{ capability = 'x:do', arguments = {{ n = {spelled} }} }}]\n")
        .agents["a"]
        .capabilities
    )
    assert not capability.other_arguments
    return capability.constraints["n"]


@pytest.mark.parametrize(("spelled", "constraint"), SPELLED.values(), ids=SPELLED)
def test_a_constraint_is_what_its_class_makes(spelled: str, constraint: Constraint) -> None:
    read = constraint_of(spelled)
    assert read == constraint
    assert type(read) is type(constraint)
    assert read.is_optional is constraint.is_optional


def test_all_seventeen_can_be_spelled_and_are() -> None:
    assert len(CONSTRAINT_KEYS) == len(CONSTRAINT_TYPES) == 17
    assert set(CONSTRAINT_KEYS) <= SPELLED.keys()
    assert {type(constraint) for _, constraint in SPELLED.values()} == set(CONSTRAINT_TYPES.values())


def test_a_field_may_have_a_name_that_no_keyword_can_have() -> None:
    read = constraint_of("{ fields = { self = 1, 'a b' = 2, '' = { exact = 3, optional = true } } }")
    assert isinstance(read, Fields)
    assert read.check({"self": 1, "a b": 2})
    assert read.check({"self": 1, "a b": 2, "": 3})
    assert not read.check({"a b": 2})
    assert read.required == {"self", "a b"}


def test_an_argument_may_be_called_what_the_class_calls_its_own() -> None:
    config = policy(
        "[agents.a]\ncapabilities = [{ capability = 'x:do', arguments = { name = 1, self = 2 } }]\n"
    )
    [capability] = config.agents["a"].capabilities
    assert dict(capability.constraints) == {"name": Exact(1), "self": Exact(2)}


@pytest.mark.parametrize(
    ("spelled", "capability"),
    [
        ("'x:do'", Capability("x:do")),
        ("{ capability = 'x:do' }", Capability("x:do")),
        ("{ capability = 'x:do', arguments = { n = 1 } }", Capability("x:do", n=1)),
        ("{ capability = 'x:do', arguments = { n = 1 }, other_arguments = false }", Capability("x:do", n=1)),
        ("{ capability = 'x:do', arguments = { n = 1 }, other_arguments = true }",
         Capability("x:do", n=1).with_other_arguments()),
        ("{ capability = 'x:do', arguments.n.max = 1, arguments.m.email = 'a.example' }",
         Capability("x:do", n=Range(max=1), m=Email("a.example"))),
    ],
)  # fmt: skip
def test_a_capability_is_what_its_class_makes(spelled: str, capability: Capability) -> None:
    assert policy(f"[scopes]\nS = [{spelled}]\n").scopes == {"S": (capability,)}


# ── any constraint, by way of a file ────────────────────────────────────────────────────────────────────────

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
NUMBERS = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e9, 1e9).map(lambda x: round(x, 3)))
PLAIN = st.one_of(WORDS, NUMBERS, st.booleans())
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=4,
)
LEAVES: st.SearchStrategy[Constraint] = st.one_of(
    PLAIN.map(Exact),
    st.tuples(NUMBERS, st.booleans()).map(lambda t: Range(min=t[0], min_inclusive=t[1])),
    st.tuples(NUMBERS, NUMBERS, st.booleans()).map(
        lambda t: Range(min=min(t[0], t[1]), max=max(t[0], t[1]), max_inclusive=t[0] == t[1] or t[2])
    ),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: OneOf(*values)),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: NotOneOf(*values)),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: Contains(*values)),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: Subset(*values)),
    st.just(Anything()),
    st.sampled_from(["/", "/srv", "/srv/a b"]).map(Path),
    st.sampled_from(["https://api.example", "https://api.example:8443/v1"]).map(Url),
    st.sampled_from(["acme.example", "a.b.example"]).map(Email),
    st.sampled_from(["10.0.0.0/8", "2001:db8::/32"]).map(Cidr),
    WORDS.filter(bool).map(Prefix),
    st.integers(0, 10**6).map(MaxLength),
)
CONSTRAINTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda several: AllOf(*several)),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: AnyOf(*several)),
        inner.map(Each),
        st.dictionaries(st.sampled_from("abc"), st.tuples(inner, st.booleans()), min_size=1).map(
            lambda fields: Fields(**{n: c.optional() if o else c for n, (c, o) in fields.items()})
        ),
    ),
    max_leaves=5,
)


def toml(value: Any) -> str:
    """A JSON value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return format(value, ".6f")
    return json.dumps(value)


def text(value: str) -> str:
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'


def spelled_by(constraint: Constraint) -> str:
    """A constraint in the words of a policy file."""
    wire: dict[str, Any] = dict(constraint.to_json())
    optional = ", optional = true" if wire.pop("optional", False) else ""
    kind = wire["constraint_type"]
    key = {"all": "all_of", "any": "any_of", "wildcard": "anything"}.get(kind, kind)
    if isinstance(constraint, AllOf | AnyOf):
        value = "[" + ", ".join(map(spelled_by, constraint.clauses)) + "]"
    elif isinstance(constraint, Each):
        value = spelled_by(constraint.constraint)
    elif isinstance(constraint, Fields):
        value = (
            "{" + ", ".join(f"{name} = {spelled_by(one)}" for name, one in constraint.fields.items()) + "}"
        )
    elif isinstance(constraint, Range):
        del wire["constraint_type"]
        value = toml(wire)
    else:
        del wire["constraint_type"]
        value = toml(next(iter(wire.values()))) if wire else "true"
    return f"{{ {key} = {value}{optional} }}"


@given(CONSTRAINTS, st.booleans())
def test_any_constraint_survives_a_file_in_both_spellings(constraint: Constraint, optional: bool) -> None:
    """What a file spells, in its own words or in those of a token, is read as the same constraint."""
    constraint = constraint.optional() if optional else constraint
    for spelled in (spelled_by(constraint), toml(constraint.to_json())):
        read = constraint_of(spelled)
        assert read == constraint
        assert read.is_optional is constraint.is_optional


@given(st.recursive(st.one_of(PLAIN, st.none(), st.floats()), lambda i: st.one_of(st.lists(i, max_size=3), st.dictionaries(
    st.one_of(WORDS, st.sampled_from([*CONSTRAINT_KEYS, "optional", "constraint_type", "min", "max"])), i, max_size=3)), max_leaves=8))  # fmt: skip
def test_whatever_is_no_constraint_is_refused_as_such(value: Any) -> None:
    """Whatever the value, it is a constraint or it is refused in a way that the reader of a file tells."""
    try:
        read: object = read_constraint(value)
    except (Misfit, remit.ConfigError):
        return
    assert isinstance(read, remit.Constraint)

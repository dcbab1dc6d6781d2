"""Arguments: what is checked is what the tool gets."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import remit

from .test_capabilities import GUARD, ISSUER, NOW

SETTINGS: Final = settings(
    deadline=None, database=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)


class Colour(enum.Enum):
    """An enum by value."""

    RED = "red"
    ONE = 1


class Level(enum.IntEnum):
    """An enum that is a number."""

    LOW = 1


@dataclasses.dataclass
class Order:
    """A dataclass as an object."""

    symbol: str
    amount: Any
    tags: list[Any]


PLAIN: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from([*Colour, *Level]),
    st.sampled_from([date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC)]),
    st.sampled_from([Decimal("1.5"), Decimal(7), Decimal("0.25")]),
)
VALUES: Final = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
        st.builds(Order, st.text("AB", max_size=2), inner, st.lists(inner, max_size=2)),
    ),
    max_leaves=6,
)


def form(value: Any) -> Any:
    """The JSON form of a value as the contract words it."""
    match value:
        case enum.Enum():
            made = form(value.value)
        case date():
            made = value.isoformat()
        case Decimal():
            made = float(value)
        case Order():
            made = {field.name: form(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case list() | tuple():
            made = [form(item) for item in value]
        case dict():
            made = {name: form(item) for name, item in value.items()}
        case _:
            made = value
    return made


def same(one: Any, two: Any) -> bool:
    """Equal as JSON: `true` is not 1, and 1.0 is."""
    if isinstance(one, bool) or isinstance(two, bool) or one is None or two is None:
        return one is two
    if isinstance(one, int | float) and isinstance(two, int | float | Decimal):
        return math.isclose(one, two, rel_tol=0, abs_tol=0)
    if isinstance(one, list) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    return type(one) is type(two) and bool(one == two)


RECEIVED: Final[list[Any]] = []


@remit.requires_capability("t")
def tool(v: Any) -> str:
    """Keeps what it gets."""
    RECEIVED.append(v)
    return "done"


@contextmanager
def bound(*capabilities: Any) -> Generator[None]:
    """Bind a credential with these capabilities."""
    with GUARD.acting_as(ISSUER.issue(agent="a", capabilities=list(capabilities))):
        RECEIVED.clear()
        yield


@SETTINGS
@given(VALUES)
def test_what_is_checked_is_the_json_form_of_what_is_passed(value: Any) -> None:
    """Arguments are checked, charged, proved and recorded in their JSON form (enums by value, dates in ISO 8601, dataclasses as objects)."""
    permit = GUARD.check(ISSUER.issue(agent="a", capabilities=["t"]), "t", {"v": value})
    assert same(form(value), form(permit.arguments["v"]))


@SETTINGS
@given(VALUES)
def test_a_tool_receives_what_was_checked(value: Any) -> None:
    """The tool runs on a private copy of the arguments that were checked."""
    with bound("t"):
        assert tool(value) == "done"
    (received,) = RECEIVED
    assert same(form(value), form(received))
    assert type(received) is type(value)
    if isinstance(value, list | dict | Order):
        assert received is not value


@SETTINGS
@given(VALUES)
@example(4.50415321779887e16)
@example(1e300)
@example(2.0**53 + 2)
def test_a_constraint_judges_the_json_form(value: Any) -> None:
    """A plain scalar means `Exact`, and so does the one value of `OneOf`: the form decides, not the class."""
    wanted = form(value)
    with bound(remit.Capability("t", v=remit.OneOf(wanted))):
        assert tool(value) == "done"
        assert tool(wanted) == "done"
    with bound(remit.Capability("t", v=remit.NotOneOf(wanted))):
        for refused in (value, wanted):
            with pytest.raises(remit.Denied) as refusal:
                tool(refused)
            assert refusal.value.code == "argument_denied"
        assert RECEIVED == []


@SETTINGS
@given(VALUES, VALUES)
def test_a_proof_is_for_the_json_form(value: Any, other: Any) -> None:
    """`hta`, when JCS-canonicalized, equals the JCS-canonical form of the args map for this invocation."""
    credential = ISSUER.issue(agent="a", capabilities=["t"])
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)
    assert guard.verify(credential.present("t", {"v": value}), "t", {"v": form(value)}).capability == "t"
    if not same(form(value), form(other)):
        with pytest.raises(remit.Denied) as refusal:
            guard.verify(credential.present("t", {"v": value}), "t", {"v": other})
        assert refusal.value.code == "proof_invalid"


class Sneaky(dict[str, Any]):
    """Shows one thing to whoever looks first and another later."""

    def __init__(self, first: Any, later: Any) -> None:
        super().__init__(x=first)
        self._answers = [first, later, later, later]

    def __getitem__(self, name: str) -> Any:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def items(self) -> Any:
        return [("x", self["x"])]

    def values(self) -> Any:
        return [self["x"]]

    def get(self, name: str, default: Any = None) -> Any:  # the signature of a mapping
        return self["x"]


def test_a_value_that_changes_between_two_looks_is_caught_or_frozen() -> None:
    """The tool gets what was checked, also when the value would say something else when asked again."""
    inner = remit.Fields(x=remit.Exact("good"))
    with bound(remit.Capability("t", v=inner)), suppress(remit.CapabilityDenied):
        tool(Sneaky("good", "bad"))
    for received in RECEIVED:
        assert dict(received.items()) == {"x": "good"}
        assert received["x"] == "good"
    with bound(remit.Capability("t", v=inner)):
        assert tool({"x": "good"}) == "done"
        with pytest.raises(remit.CapabilityDenied):
            tool({"x": "bad"})


class Shout(str):
    """A string that compares equal to anything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def startswith(self, *_: object) -> bool:
        return True

    __hash__ = str.__hash__


class Small(int):
    """A number that says it is small."""

    def __le__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("constraint", "value"),
    [
        (remit.Exact("good"), Shout("bad")),
        (remit.OneOf("good"), Shout("bad")),
        (remit.Prefix("good"), Shout("bad")),
        (remit.Path("/data"), Shout("/etc")),
        (remit.Range(max=5), Small(6)),
        (remit.Exact(5), Small(6)),
        (remit.MaxLength(2), Shout("long")),
    ],
    ids=repr,
)
def test_a_value_that_lies_about_itself_is_not_believed(constraint: remit.Constraint, value: Any) -> None:
    """Checked at the last possible moment, on the arguments that will really be executed."""
    with bound(remit.Capability("t", v=constraint)):
        with pytest.raises(remit.Denied):
            tool(value)
        assert RECEIVED == []


def test_what_is_returned_cannot_be_used_to_change_what_was_decided() -> None:
    """Objects returned cannot widen authority."""
    passed = {"v": {"x": [1]}}
    credential = ISSUER.issue(agent="a", capabilities=["t"])
    permit = GUARD.check(credential, "t", passed)
    passed["v"]["x"].append(2)
    assert permit.arguments["v"] == {"x": [1]}
    capabilities: Any = credential.capabilities
    if isinstance(capabilities, list):
        capabilities.append(remit.Capability("u"))
    with pytest.raises(remit.Denied):
        GUARD.check(credential, "u", {})


@remit.requires_capability("t")
def sized(amount: int = 100, note: str = "") -> int:
    """Has a default that not everybody may use."""
    RECEIVED.append(note)
    return amount


def test_a_default_is_checked_where_any_link_names_it() -> None:
    """Capability present and arguments allowed **on every link**; a default is checked where the capability names it."""
    narrow = remit.Capability("t", amount=remit.Range(max=5).optional(), note=remit.Anything().optional())
    without = remit.Capability("t", note=remit.Anything().optional())
    root = ISSUER.issue(agent="a", capabilities=[narrow], max_depth=1)
    leaf = root.delegate(agent="b", capabilities=[without])
    RECEIVED.clear()
    for credential in (root, leaf):
        with GUARD.acting_as(credential), pytest.raises(remit.Denied) as refusal:
            sized(note="x")
        assert refusal.value.code == "argument_denied"
    assert RECEIVED == []
    with GUARD.acting_as(root):
        assert sized(amount=5, note="x") == 5
    with GUARD.acting_as(ISSUER.issue(agent="c", capabilities=[without])):
        assert sized(note="x") == 100

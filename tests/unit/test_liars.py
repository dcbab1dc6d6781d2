"""A value that lies about itself is denied, or taken at its word: what is checked is what the tool reads."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, Final, Self

import pydantic
import pytest

import remit

from .support import World, refusal


@remit.requires_capability("tool:use")
def tool(order: Any) -> Any:
    return order


def _run(world: World, order: Any, allowed: remit.Constraint | None = None) -> Any:
    capability = remit.Capability("tool:use", order=allowed or remit.Anything())
    with world.guard.acting_as(world.issue(capability)):
        return tool(order)


def _arrived(world: World, order: Any, allowed: remit.Constraint | None = None) -> list[Any]:
    """What reaches the tool: nothing, when the call is denied for its argument."""
    try:
        return [_run(world, order, allowed)]
    except remit.CapabilityDenied as denied:
        if denied.code != "argument_denied":
            raise
        return []


class LyingText(str):
    """Holds one text and shows another."""

    __slots__ = ()

    def __str__(self) -> str:
        return "EVIL"

    def __format__(self, spec: str) -> str:
        return "EVIL"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class LyingNumber(int):
    """Holds one number and counts as another."""

    def __int__(self) -> int:
        return 10**9

    def __add__(self, other: int) -> int:
        return 10**9

    def __index__(self) -> int:
        return 10**9


class LyingFraction(float):
    def __float__(self) -> float:
        return 1e9

    def __mul__(self, other: float) -> float:
        return 1e9


class LyingDict(dict[str, Any]):
    def items(self) -> Any:
        return {"symbol": "ACME"}.items()

    def keys(self) -> Any:
        return {"symbol": "ACME"}.keys()

    def copy(self) -> Any:
        return {"symbol": "ACME"}


class LyingList(list[Any]):
    def __iter__(self) -> Any:
        return iter(["ACME"])

    def __getitem__(self, index: Any) -> Any:
        return ["ACME"]


class LyingDate(date):
    def isoformat(self) -> str:
        return "2024-01-01"


class LyingPath(PurePosixPath):
    def __str__(self) -> str:
        return "/srv/ok"


class LyingDecimal(Decimal):
    def __int__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0


def _uses(value: Any) -> set[str]:
    """What a tool can read of a value in the usual ways."""
    shown = {f"{value}", str(value), value[:] if isinstance(value, str) else str(value)}
    if isinstance(value, date):
        shown.add(f"{value.year}-{value.month:02}-{value.day:02}")
    if isinstance(value, PurePosixPath):
        shown |= {value.as_posix(), "/" + "/".join(value.parts[1:])}
    if isinstance(value, int | float | Decimal):
        shown |= {str(value + 0), str(value * 1)}
    return shown


LIARS: Final[dict[str, tuple[Any, Any]]] = {
    "str": (LyingText("ACME"), "ACME"),
    "int": (LyingNumber(1), 1),
    "float": (LyingFraction(1.5), 1.5),
    "dict": (LyingDict(symbol="EVIL", amount=10**9), {"symbol": "ACME"}),
    "list": (LyingList(["EVIL"]), ["ACME"]),
    "date": (LyingDate(2030, 5, 6), "2024-01-01"),
    "path": (LyingPath("/etc/passwd"), "/srv/ok"),
    "Decimal": (LyingDecimal(900), 1),
}


@pytest.mark.parametrize("kind", LIARS)
def test_a_value_that_lies_about_itself_is_denied_or_taken_at_its_word(world: World, kind: str) -> None:
    value, claimed = LIARS[kind]
    allowed = remit.Anything() if isinstance(claimed, list | dict) else remit.Exact(claimed)
    for arrived in _arrived(world, value, allowed):
        assert type(arrived) in {str, int, float, date, PurePosixPath, Decimal, dict, list}
        assert _uses(arrived) == {str(claimed)}
    assert world.events("decision")


@dataclass
class Box:
    value: Any


class ModelBox(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    value: Any


@pytest.mark.parametrize("kind", LIARS)
@pytest.mark.parametrize("holder", ["dataclass", "pydantic model", "list", "dict", "tuple"])
def test_a_liar_inside_a_value_is_denied_or_taken_at_its_word(world: World, kind: str, holder: str) -> None:
    value, claimed = LIARS[kind]
    made: dict[str, Any] = {
        "dataclass": Box(value), "pydantic model": ModelBox(value=value), "list": [value], "dict": {"value": value},
        "tuple": (value,),
    }  # fmt: skip
    for arrived in _arrived(world, made[holder]):
        held = (
            arrived.value
            if holder in {"dataclass", "pydantic model"}
            else arrived["value" if holder == "dict" else 0]
        )
        assert _uses(held) == {str(claimed)}
    assert world.events("decision")


class Pretending:
    """Says that it is of a class that it is not."""

    def __init__(self, kind: type, value: Any) -> None:
        self.kind, self.value, self.amount = kind, value, 10**9

    @property  # type: ignore[misc]  # the attack itself
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.kind

    def isoformat(self) -> str:
        return "2024-01-01"

    def __str__(self) -> str:
        return "ACME"


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "kind", [Colour, str, int, float, bool, list, dict, date, Decimal, PurePosixPath, Box, ModelBox]
)
def test_an_object_that_pretends_to_be_of_another_class_is_denied(world: World, kind: type) -> None:
    for value in ("ACME", 1):
        denied = refusal(lambda: _run(world, Pretending(kind, value)))
        assert (denied.code, denied.argument) == ("argument_denied", "order")


class _Alias(str):
    """A name that claims to be another one."""

    __slots__ = ("claims",)

    claims: str

    def __new__(cls, text: str, claims: str) -> Self:
        name = super().__new__(cls, text)
        name.claims = claims
        return name

    def __eq__(self, other: object) -> bool:
        return other == self.claims

    def __hash__(self) -> int:
        return hash(self.claims)

    def __getitem__(self, key: Any) -> str:
        return self.claims[key]


def test_a_name_that_claims_to_be_another_is_taken_at_its_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "value")
    guard, credential = world.guard, world.issue("trades:propose", secrets=["KEY"], session="s-1")
    lie = _Alias("harmless:read", "trades:propose")
    for call in (
        lambda: guard.check(credential, lie, {}, session="s-1"),
        lambda: guard.validate(credential, lie, session="s-1"),
        lambda: guard.resolve_secret(credential, "KEY", tool=lie, session="s-1"),
    ):
        assert refusal(call).code == "capability_missing"
    assert [record.capability for record in world.audit.records[-3:]] == ["harmless:read"] * 3
    name = _Alias("OTHER", "KEY")
    secret = refusal(lambda: guard.resolve_secret(credential, name, tool="trades:propose", session="s-1"))
    assert secret.code == "secret_denied"
    for bearer in ({"session": _Alias("s-2", "s-1")}, {"session": "s-1", "agent": _Alias("b", "agent-a")}):
        assert refusal(lambda b=bearer: guard.check(credential, "trades:propose", {}, **b)).code in {  # type: ignore[misc]
            "session_mismatch",
            "agent_mismatch",
        }

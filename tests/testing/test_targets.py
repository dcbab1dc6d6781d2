"""What `--remit-bypass` is given: modules that cannot be imported, and types of which samples are hard to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NewType, TypedDict

import pydantic
import pytest

import remit
from remit.testing.bypass import load_targets

from .holes import done, found


class Large(pydantic.BaseModel):
    amount: Annotated[int, pydantic.Field(gt=10)]


@dataclass
class Fussy:
    number: int

    def __post_init__(self) -> None:
        if self.number < 5:
            raise ValueError("too small")


class Table(TypedDict):
    first: int


Name = NewType("Name", str)


def tool_of(kind: Any) -> Any:
    def work(thing: Any) -> str:
        return done("work")

    work.__annotations__["thing"] = kind
    return remit.requires_capability("work:do")(work)


@pytest.mark.parametrize("kind", [Large, Fussy])
def test_what_wants_more_than_its_types_say_is_a_finding(kind: Any) -> None:
    assert "no sample of 'thing' can be made" in found(tool_of(kind))["every route"][0]


@pytest.mark.parametrize("kind", [Annotated[str, ["unhashable"]], Table, Name])
def test_samples_are_made(kind: Any) -> None:
    assert found(tool_of(kind)) == {}


def test_parameters_that_only_have_the_names_of_receivers_are_filled() -> None:
    def work(cls: str, self: str) -> str:
        return done(cls + self)

    assert found(remit.requires_capability("work:do")(work)) == {}


NONE = None
TEXT = "tools"
SET = {tool_of(str)}


def failing() -> Any:
    raise RuntimeError("no tools today")


@pytest.mark.parametrize(
    ("name", "reason"), [("NONE", "is no tool"), ("TEXT", "is no tool"), ("failing", "no tools today")]
)
def test_what_is_no_tool_is_refused(name: str, reason: str) -> None:
    with pytest.raises(remit.ConfigError, match=reason):
        load_targets(f"{__name__}:{name}")


def test_a_set_of_tools_is_taken() -> None:
    assert [target.name for target in load_targets(f"{__name__}:SET")] == ["work"]


@pytest.mark.parametrize("source", ["raise ImportError('nope')", "def ("])
def test_a_module_that_cannot_be_imported_is_refused(
    source: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_shop.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(remit.ConfigError, match="cannot be imported"):
        load_targets("broken_shop:TOOLS")

"""N2, R11: what a tool raises shows none of the secrets it was given, however it is printed."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn

import pytest

import remit

from .support import World

CANARY: Final = "canary-0c4fe2d9"


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    text: str


class SlotError(Exception):
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class ReadOnlyError(Exception):
    def __init__(self, text: str) -> None:
        self.__dict__["text"] = text

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("read-only")


class ResponseError(Exception):
    """As HTTP clients raise them."""

    def __init__(self, text: str) -> None:
        super().__init__("401")
        self.request = {"headers": {"Authorization": f"Bearer {text}"}}


def _from(error: BaseException, cause: BaseException) -> NoReturn:
    raise error from cause


def _raise(error: BaseException) -> NoReturn:
    raise error


def _while_handling(error: BaseException, first: BaseException) -> NoReturn:
    try:
        raise first
    except type(first):
        raise error  # noqa: B904 - the context is the point


def _noted(text: str) -> NoReturn:
    error = ValueError("bad")
    error.add_note(text)
    raise error


RAISED: Final[dict[str, Callable[[str], Any]]] = {
    "message": lambda s: _raise(ValueError(f"key {s} refused")),
    "second argument": lambda s: _raise(ValueError("refused", {"key": [s]})),
    "key": lambda s: dict[str, int]()[s],
    "attribute": lambda s: _raise(ResponseError(s)),
    "note": _noted,
    "cause": lambda s: _from(ValueError("refused"), KeyError(s)),
    "cause of a cause": lambda s: _from(ValueError("a"), _caused(KeyError("b"), KeyError(s))),
    "context": lambda s: _while_handling(ValueError("refused"), KeyError(s)),
    "group": lambda s: _raise(ExceptionGroup("all", [ValueError(s), KeyError("b")])),
    "message of a group": lambda s: _raise(ExceptionGroup(s, [ValueError("a")])),
    "message of a group in a group": lambda s: _raise(
        ExceptionGroup("all", [ExceptionGroup(s, [ValueError("a")])])
    ),
    "file name": lambda s: _raise(OSError(2, "No such file", f"/keys/{s}")),
    "file name of a cause": lambda s: _from(ValueError("refused"), OSError(2, "No such file", s)),
    "file name of a context": lambda s: _while_handling(ValueError("refused"), OSError(2, "No such file", s)),
    "file name in a group": lambda s: _raise(ExceptionGroup("all", [OSError(2, "No such file", s)])),
    "text of a syntax error": lambda s: _raise(SyntaxError("bad", ("f", 1, 1, f"key = {s}"))),
    "real syntax error": lambda s: compile(f"x = '{s}", "f", "exec"),
    "frozen exception": lambda s: _raise(FrozenError(s)),
    "frozen cause": lambda s: _from(ValueError("refused"), FrozenError(s)),
    "exception with slots": lambda s: _raise(SlotError(s)),
    "cause with slots": lambda s: _from(ValueError("refused"), SlotError(s)),
    "read-only exception": lambda s: _raise(ReadOnlyError(s)),
    "undecodable": lambda s: (b"\xff" + s.encode()).decode(),
    "exit": lambda s: _raise(SystemExit(s)),
    "interrupt": lambda s: _raise(KeyboardInterrupt(s)),
}


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _tool(make: Callable[[str], Any]) -> Callable[[], Any]:
    @remit.requires_capability("tool:use")
    def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> Any:
        return make(api_key.reveal())

    return tool


def _caught(world: World, tool: Callable[[], Any]) -> BaseException:
    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        try:
            tool()
        except BaseException as error:  # noqa: BLE001 - exits and interrupts are among them
            return error
    raise AssertionError("nothing was raised")


def _everything(error: BaseException, depth: int = 6) -> str:
    """All that a program can print of an exception, and of those that led to it."""
    shown = [
        "".join(traceback.format_exception(error)),
        repr(error),
        str(error),
        repr(error.args),
        repr(vars(error)),
    ]
    names = ("filename", "strerror", "text", "object", "obj", "name", "code", "value", "message")
    shown += [repr(getattr(error, name, None)) for name in names]
    others = (error.__cause__, error.__context__, *getattr(error, "exceptions", ()))
    shown += [_everything(other, depth - 1) for other in others if other is not None and depth]
    return "\n".join(shown)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", CANARY)


@pytest.mark.parametrize("kind", RAISED)
def test_an_exception_shows_no_secret_however_it_came_about(world: World, kind: str) -> None:
    error = _caught(world, _tool(RAISED[kind]))
    assert CANARY not in _everything(error)
    [outcome] = world.events("outcome")
    assert outcome.allowed is False


def test_an_attribute_error_does_not_carry_the_secret_as_its_object(world: World) -> None:
    error = _caught(world, _tool(lambda text: text.no_such_method()))  # type: ignore[attr-defined]  # the mistake itself
    assert CANARY not in _everything(error)


@pytest.mark.parametrize("kind", ["message", "key", "note", "cause", "group", "attribute"])
def test_an_exception_that_could_be_cleaned_keeps_its_type(world: World, kind: str) -> None:
    expected = {"key": KeyError, "group": ExceptionGroup, "attribute": ResponseError}.get(kind, ValueError)
    assert type(_caught(world, _tool(RAISED[kind]))) is expected


def test_an_exception_that_could_not_be_cleaned_is_replaced_by_one_that_names_its_type(world: World) -> None:
    error = _caught(world, _tool(RAISED["message of a group"]))
    assert isinstance(error, remit.RemitError)
    assert not isinstance(error, remit.Denied)
    assert "ExceptionGroup" in str(error)


def test_an_exception_shows_no_secret_in_a_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with world.guard.acting_as(world.issue(secrets=["KEY"])), caplog.at_level(logging.DEBUG):
        for kind in ("message", "cause", "note", "file name", "group"):
            try:
                _tool(RAISED[kind])()
            except Exception:  # a program's outermost handler
                logging.getLogger("app").exception("failed")
    assert len(caplog.records) == 5
    assert CANARY not in caplog.text


async def test_a_coroutines_exception_shows_no_secret(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> None:
        raise ValueError(api_key.reveal())

    with (
        world.guard.acting_as(world.issue(secrets=["KEY"])),
        pytest.raises(ValueError, match="secret KEY") as caught,
    ):
        await tool()
    assert CANARY not in _everything(caught.value)


def test_a_generators_exception_shows_no_secret(world: World) -> None:
    @remit.requires_capability("tool:use")
    def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> Iterator[int]:
        yield 1
        raise ValueError(api_key.reveal())

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        made = tool()
    assert next(made) == 1
    with pytest.raises(ValueError, match="secret KEY") as caught:
        next(made)
    assert CANARY not in _everything(caught.value)


async def test_an_asynchronous_generators_exception_shows_no_secret(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> AsyncIterator[int]:
        yield 1
        raise ValueError(api_key.reveal())

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        made = tool()
    assert await anext(made) == 1
    with pytest.raises(ValueError, match="secret KEY") as caught:
        await anext(made)
    assert CANARY not in _everything(caught.value)

"""N2, R11: what a tool returns or yields carries none of the secrets it was given."""

from __future__ import annotations

import base64
import collections
import dataclasses
import functools
import io
import ipaddress
import json
import os
import re
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Generator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus
from uuid import UUID

import pydantic
import pytest

import remit

from .support import World

CANARY: Final = 'can/ary+7d"1e=ä'
PLAIN: Final = "canary-7d1e55b0"


@dataclasses.dataclass
class Row:
    text: str


@dataclasses.dataclass(slots=True)
class SlotRow:
    text: str


class SlotRowChild(SlotRow):
    """Has a `__dict__` beside the slots."""


@dataclasses.dataclass(frozen=True)
class FrozenRow:
    text: str


class Pair(NamedTuple):
    text: str
    number: int


class Model(pydantic.BaseModel):
    text: str


class OpenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    text: str


class Rows(list[str]):
    """A list of one's own."""


class Result:
    """What libraries return."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Result({self.text})"


def _deep(text: str, depth: int) -> list[Any]:
    value: list[Any] = [text]
    for _ in range(depth):
        value = [value]
    return value


def _circle(text: str) -> list[Any]:
    value: list[Any] = [text]
    value.append(value)
    return value


SHAPES: Final[dict[str, Callable[[str], Any]]] = {
    "text": lambda s: f"key {s} was used",
    "bytes": lambda s: s.encode(),
    "bytearray": lambda s: bytearray(s.encode()),
    "list": lambda s: [1, [s]],
    "tuple": lambda s: (s, 1),
    "set": lambda s: {s},
    "frozenset": lambda s: frozenset({s}),
    "dict value": lambda s: {"a": {"b": s}},
    "dict key": lambda s: {s: 1},
    "OrderedDict": lambda s: collections.OrderedDict(a=s),
    "defaultdict": lambda s: collections.defaultdict(str, a=s),
    "namedtuple": lambda s: Pair(s, 1),
    "dataclass": Row,
    "dataclass with slots": SlotRow,
    "dataclass, subclass of one with slots": SlotRowChild,
    "frozen dataclass": FrozenRow,
    "pydantic model": lambda s: Model(text=s),
    "pydantic model with extra fields": lambda s: OpenModel.model_validate({"text": s}),
    "frozen pydantic model": lambda s: FrozenModel(text=s),
    "list of models": lambda s: [Model(text=s), Row(s)],
    "subclass of list": lambda s: Rows([s]),
    "deque": lambda s: collections.deque([s]),
    "ChainMap": lambda s: collections.ChainMap({"a": s}),
    "UserDict": lambda s: collections.UserDict(a=s),
    "mapping proxy": lambda s: MappingProxyType({"a": s}),
    "dict values": lambda s: {"a": s}.values(),
    "namespace": lambda s: SimpleNamespace(text=s),
    "object": Result,
    "exception": lambda s: ValueError(s),  # noqa: PLW0108 - one shape for all rows
    "path": lambda s: PurePosixPath("/srv") / s.replace("/", "_"),
    "100 deep": lambda s: _deep(s, 100),
    "a list that holds itself": _circle,
}


def _run(world: World, make: Callable[[str], Any], value: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KEY", value)

    @remit.requires_capability("tool:use")
    def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> Any:
        return make(api_key.reveal())

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        return tool()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_result_carries_no_secret_whatever_its_shape(
    world: World, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _run(world, SHAPES[shape], PLAIN, monkeypatch)
    assert PLAIN not in f"{result!r} {result!s}"
    if isinstance(result, pydantic.BaseModel):
        assert PLAIN not in result.model_dump_json()


ENCODED: Final[dict[str, Callable[[str], str]]] = {
    "as it is": lambda s: s,
    "in a sentence": lambda s: f"Authorization: Bearer {s}; ok",
    "twice": lambda s: s + s,
    "percent": lambda s: quote(s, safe=""),
    "in a query": lambda s: "?key=" + quote_plus(s),
    "JSON": json.dumps,
    "JSON not ASCII": lambda s: json.dumps(s, ensure_ascii=False),
    "JSON in a list": lambda s: json.dumps({"a": [s]}),
    "repr": lambda s: repr([s]),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64url": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64 without padding": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("value", [CANARY, PLAIN], ids=["odd letters", "plain letters"])
@pytest.mark.parametrize("form", ENCODED)
def test_a_result_carries_no_secret_in_a_usual_encoding(
    world: World, form: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = ENCODED[form](value)
    result = _run(world, ENCODED[form], value, monkeypatch)
    assert "[secret KEY]" in result
    assert value not in result
    assert encoded not in result


def test_a_result_without_a_secret_is_returned_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"a": 1}, ("b", 2)]
    assert _run(world, lambda _: rows, PLAIN, monkeypatch) is rows
    thing = object()
    assert _run(world, lambda _: thing, PLAIN, monkeypatch) is thing
    assert _run(world, lambda _: None, PLAIN, monkeypatch) is None
    assert _run(world, lambda _: True, PLAIN, monkeypatch) is True


def test_the_secret_itself_may_be_returned_and_stays_masked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", PLAIN)

    @remit.requires_capability("tool:use")
    def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> Any:
        return [api_key]

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert PLAIN not in repr(tool())


def test_of_two_secrets_the_longer_is_replaced_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "canary")
    monkeypatch.setenv("LONG", "canary-and-more")

    @remit.requires_capability("tool:use")
    def tool(*, a: remit.Secret = remit.secret("SHORT"), b: remit.Secret = remit.secret("LONG")) -> str:
        return f"{a.reveal()} {b.reveal()}"

    with world.guard.acting_as(world.issue(secrets=["SHORT", "LONG"])):
        assert tool() == "[secret SHORT] [secret LONG]"


async def test_a_coroutines_result_carries_no_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", PLAIN)

    @remit.requires_capability("tool:use")
    async def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> dict[str, str]:
        return {"key": api_key.reveal()}

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert await tool() == {"key": "[secret KEY]"}


def test_what_a_generator_yields_and_returns_carries_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", PLAIN)

    @remit.requires_capability("tool:use")
    def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> Generator[str, None, list[str]]:
        yield api_key.reveal()
        yield f"more {api_key.reveal()}"
        return [api_key.reveal()]

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        made = tool()
    assert [next(made), next(made)] == ["[secret KEY]", "more [secret KEY]"]
    with pytest.raises(StopIteration) as stop:
        next(made)
    assert stop.value.value == ["[secret KEY]"]


async def test_what_an_asynchronous_generator_yields_carries_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", PLAIN)

    @remit.requires_capability("tool:use")
    async def tool(*, api_key: remit.Secret = remit.secret("KEY")) -> AsyncIterator[bytes]:
        yield api_key.reveal().encode()

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert [item async for item in tool()] == [b"[secret KEY]"]


def test_an_iterator_that_a_tool_returns_gives_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in (
        lambda s: iter([s]),
        lambda s: map(str, [s]),
        lambda s: (t for t in [s]),
        lambda s: reversed([s]),
    ):
        assert PLAIN not in list(_run(world, make, PLAIN, monkeypatch))


class Client:
    """What a tool keeps for its next call."""

    def __init__(self, key: str) -> None:
        self.headers = {"Authorization": key}


class Answer:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.text = "ok"


def test_cleaning_a_result_does_not_break_what_the_tool_keeps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Client] = []

    def fetch(key: str) -> Answer:
        if not kept:
            kept.append(Client(key))
        return Answer(kept[0])

    result = _run(world, fetch, PLAIN, monkeypatch)
    assert PLAIN not in repr(result)
    assert kept[0].headers == {"Authorization": PLAIN}  # or its next call fails


def test_cleaning_a_result_does_not_change_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _run(world, lambda _: os.environ, PLAIN, monkeypatch)
    assert PLAIN not in repr(result)
    assert os.environ["KEY"] == PLAIN


def test_what_cannot_be_printed_does_not_break_a_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    _run(world, lambda _: [Silent()], PLAIN, monkeypatch)
    [outcome] = world.events("outcome")
    assert outcome.allowed is True


USUAL: Final[dict[str, Any]] = {
    "Decimal": Decimal("1.5"),
    "Fraction": Fraction(1, 2),
    "complex": 1j,
    "datetime": datetime(2024, 1, 2, tzinfo=UTC),
    "date": date(2024, 1, 2),
    "timedelta": timedelta(hours=1),
    "UUID": UUID(int=1),
    "path": PurePosixPath("/srv"),
    "range": range(3),
    "pattern": re.compile("x"),
    "match": re.match("x", "x"),
    "address": ipaddress.ip_address("192.0.2.1"),
    "array": array("i", [1]),
    "deque": collections.deque([1]),
    "Counter": collections.Counter("ab"),
    "namedtuple": Pair("a", 1),
    "frozenset": frozenset({1}),
    "dataclass": Row("a"),
    "pydantic model": Model(text="a"),
    "namespace": SimpleNamespace(a=1),
    "file": io.StringIO("a"),
    "function": len,
    "class": Row,
    "lock": threading.Lock(),
    "object": object(),
    "numbers in a list": [Decimal("1.5"), {"a": Decimal(2)}],
}


@pytest.mark.parametrize("kind", USUAL)
def test_what_holds_no_secret_is_returned_as_it_is_whatever_it_is(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(world, lambda _: USUAL[kind], PLAIN, monkeypatch) is USUAL[kind]


def test_an_answer_that_is_read_as_a_file_carries_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in (io.StringIO, lambda text: io.BytesIO(text.encode())):
        result = _run(world, make, PLAIN, monkeypatch)
        assert PLAIN not in str(result.read() if hasattr(result, "read") else result)


def test_a_partial_of_a_secret_shows_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(world, lambda text: functools.partial(print, text), PLAIN, monkeypatch)
    assert PLAIN not in repr(result)

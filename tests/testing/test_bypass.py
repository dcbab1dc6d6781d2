"""`--remit-bypass` on plain functions: a guarded one passes, and each known hole is found."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import functools
import gc
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any, Literal, cast

import pydantic
import pytest

import remit
from remit.testing.bypass import Finding, Target, attacks_on, lines, load_targets
from remit.testing.bypass.standin import Standing

from .holes import attacked, done, found


class Kind(enum.Enum):
    SMALL = "small"


@dataclass
class Point:
    x: int
    y: int = 0


class Order(pydantic.BaseModel):
    symbol: str
    amount: int
    note: str | None = None


def plain(text: str) -> str:
    return done(text)


def defaults(text: str, count: int = 1, *, loud: bool = False) -> str:
    return done(text)


def everything(  # type: ignore[no-untyped-def] # noqa: PLR0917 - one of each
    number: int,
    amount: float,
    flag: bool,
    names: list[str],
    table: dict[str, int],
    kind: Kind,
    when: dt.date,
    point: Point,
    order: Order,
    choice: Literal["a", "b"],
    maybe: int | None,
    noted: Annotated[str, "note"],
    untyped,  # noqa: ANN001 - as some are written
) -> str:
    return done("everything")


def positional(text: str, /, *rest: int, **more: int) -> str:
    return done(text)


async def coroutine(text: str) -> str:
    return done(text)


def generator(text: str) -> Iterator[str]:
    yield done(text)


async def stream(text: str) -> AsyncIterator[str]:
    yield done(text)


def with_secret(text: str, key: remit.Secret = remit.secret("KEY")) -> str:
    return done(text)


def nothing() -> str:
    return done("nothing")


def closing_over(what: str) -> Callable[[str], str]:
    def closure(text: str) -> str:
        return done(what + text)

    return closure


class Desk:
    @remit.requires_capability("desk:use")
    def method(self, text: str) -> str:
        return done(text)

    @staticmethod
    @remit.requires_capability("desk:use")
    def static(text: str) -> str:
        return done(text)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = remit.requires_capability("tool:use")(function)
    return made


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor], audit=Refusing())
    return remit.bind_tool(function, guard, issuer.issue("agent", ["tool:use"]), capability="tool:use")


class Refusing:
    """An audit trail that must not be written: the attacks are decided elsewhere."""

    def record(self, record: remit.AuditRecord) -> None:
        raise AssertionError("the user's own guard was asked")


FUNCTIONS = [
    plain,
    defaults,
    everything,
    positional,
    coroutine,
    generator,
    stream,
    nothing,
    closing_over("x"),
]


@pytest.mark.parametrize("make", [guarded, carried], ids=["guarded", "carried"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.__name__ for function in FUNCTIONS])
def test_a_guarded_function_passes(function: Callable[..., Any], make: Callable[..., Any]) -> None:
    code = function.__code__
    assert found(make(function)) == {}
    assert function.__code__ is code, "the body is put back"


@pytest.mark.parametrize("which", ["method", "static", "secret"])
def test_a_guarded_method_and_one_with_a_secret_pass(which: str) -> None:
    tools: dict[str, Any] = {"method": Desk().method, "static": Desk.static, "secret": guarded(with_secret)}
    assert found(tools[which]) == {}


def test_what_is_attacked() -> None:
    common = {
        "guarded",
        "every route",
        "nothing bound",
        "the bare function",
        "copies",
        "another thread",
        "after the block",
        "another capability",
        "another agent",
        "a closed credential",
        "an expired credential",
        "a revoked credential",
        "undeclared arguments",
        "a cache",
    }
    assert attacked(guarded(nothing)) == common
    assert attacked(guarded(plain)) == common | {"arguments that lie"}
    assert attacked(guarded(everything)) == common | {
        "arguments that lie",
        "arguments changed after the check",
    }


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def pointing_inside(function: Callable[..., Any]) -> Callable[..., Any]:
    made = guarded(function)
    made.__wrapped__ = function  # type: ignore[attr-defined]
    return made


def pretending(function: Callable[..., Any]) -> Callable[..., Any]:
    made = copy.copy(function)
    pretender: Any = functools.partial(made)
    pretender.__capability__ = "tool:use"
    pretender.__name__ = "pretender"
    return pretender  # type: ignore[no-any-return]


HOLES: dict[str, tuple[Callable[..., Any], str, str]] = {
    "undecorated": (plain, "guarded", "nothing guards it"),
    "undecorated coroutine": (coroutine, "guarded", "nothing guards it"),
    "a capability written on it": (pretending(plain), "guarded", "nothing checks a call"),
    "a cache outside": (functools.lru_cache(guarded(plain)), "guarded", "a cache answers before the guard"),
    "a cache without arguments": (functools.cache(guarded(nothing)), "guarded", "a cache answers before"),
    "a decorator outside": (wrapped(guarded(plain)), "guarded", "its outermost function is not the guard"),
    "__wrapped__ put back": (pointing_inside(plain), "the bare function", "can be had without its guard"),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_found_and_told_in_one_line(name: str) -> None:
    tool, attack, happened = HOLES[name]
    said = found(tool)
    assert set(said) == {attack}
    assert len(said[attack]) == 1
    assert happened in said[attack][0]
    assert "requires_capability" in said[attack][0] or "__wrapped__" in said[attack][0]


# ── holes that Remit itself does not have: the guard is broken for the test ─────────────────────────────────
BREAKAGES = {
    "check_times": "an expired credential",
    "check_standing": "a revoked credential",
    "check_possession": "a closed credential",
    "check_bearer": "another agent",
    "check_arguments": "arguments that lie",
}


@pytest.mark.parametrize("check", BREAKAGES)
def test_a_guard_without_a_check_is_noticed(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"remit.enforce.{check}", lambda *_: None)
    if check == "check_possession":
        monkeypatch.setattr(remit.Credential, "closed", False)
    said = found(guarded(plain))
    assert "report it" in said[BREAKAGES[check]][0]


def test_a_guard_that_passes_the_callers_own_list_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(names: list[str]) -> str:
        return done("listing")

    monkeypatch.setattr("remit.enforce.private_copy", lambda grant, arguments: (arguments, dict(arguments)))
    assert "changed after the check" in str(found(guarded(listing)).get("arguments changed after the check"))


def test_a_guard_that_takes_undeclared_arguments_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.enforce.check_arguments", lambda *_: None)
    assert "nobody granted" in str(found(guarded(positional)).get("undeclared arguments"))


def test_a_binding_that_outlives_its_block_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.binding.BoundScope.__exit__", lambda *_: None)
    assert "after the block" in found(guarded(plain))


def test_a_binding_for_one_capability_that_serves_all_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from remit.binding import current_binding
    from remit.invocation import Tool

    monkeypatch.setattr(Tool, "binding", lambda tool: current_binding() or tool.nothing)
    said = found(guarded(plain))
    assert "another capability" in said


# ── what cannot be tried is said ────────────────────────────────────────────────────────────────────────────
def odd(number: complex) -> str:
    return done("odd")


def test_an_argument_of_which_no_sample_can_be_made_is_a_failure_that_says_what_to_give() -> None:
    said = found(guarded(odd))
    assert set(said) == {"every route"}
    assert "give (tool, {'number': value})" in said["every route"][0]
    assert found(guarded(odd), number=5) == {}


def test_arguments_that_do_not_fit_are_a_failure() -> None:
    """Nothing that is undecided passes for tried."""

    def fussy(text: str) -> str:
        return done(text)

    made = guarded(fussy)
    said = found(made, other=1)
    assert set(said) <= {"every route"}


def test_something_that_no_adapter_knows_is_a_failure() -> None:
    class Strange:
        def __init__(self) -> None:
            self.work = guarded(plain)

    said = found(Strange())
    assert "no adapter knows the routes" in said["every route"][0]


# ── safety ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_function_with_the_code_of_a_body_is_made_safe() -> None:
    def body(text: str) -> str:
        return done(text)

    function = cast("FunctionType", body)
    twin = FunctionType(function.__code__, globals(), "twin")
    standing = Standing([function])
    with standing.in_place():
        standing.answers = True
        assert (body("a"), twin("b")) == ("a result", "a result")
        assert list(inspect.signature(twin).parameters) == ["text"]
    assert [begun.arguments for begun in standing.begun] == [{"text": "a"}, {"text": "b"}]
    assert not any(begun.decided for begun in standing.begun)
    assert (body("c"), twin("d")) == ("c", "d")


def test_a_body_is_put_back_whatever_happens() -> None:
    def body(text: str) -> str:
        return done(text)

    with pytest.raises(KeyError), Standing([cast("FunctionType", body)]).in_place():
        raise KeyError
    assert body("again") == "again"


def test_no_tracer_is_touched() -> None:
    """Coverage measures with one."""
    before = sys.gettrace(), threading.gettrace()
    assert found(guarded(plain)) == {}
    assert (sys.gettrace(), threading.gettrace()) == before


def test_nothing_is_left_of_an_attack() -> None:
    tool = guarded(plain)
    found(tool)
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor])
    with guard.acting_as(issuer.issue("agent", ["tool:use"])):
        assert tool("really") == "really"
    assert not [each for each in gc.get_objects() if type(each) is Standing and each._stands]


# ── what is attacked ────────────────────────────────────────────────────────────────────────────────────────
TOOLS = [guarded(plain), (guarded(odd), {"number": 2})]
MAPPING = {"first": guarded(plain), "second": guarded(coroutine)}
ONE = guarded(plain)
PAIR = (guarded(odd), {"number": 2})
EMPTY: list[Any] = []
TWICE = [guarded(plain), guarded(plain)]


def made() -> list[Any]:
    return TOOLS


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("TOOLS", ["plain", "odd"]),
        ("made", ["plain", "odd"]),
        ("MAPPING", ["first", "second"]),
        ("ONE", ["plain"]),
        ("PAIR", ["odd"]),
        ("Desk.static", ["static"]),
    ],
)
def test_what_module_and_name_may_name(name: str, names: list[str]) -> None:
    targets = load_targets(f"{__name__}:{name}")
    assert [target.name for target in targets] == names
    assert [
        line for target in targets for attack in attacks_on(target).values() for line in lines(attack())
    ] == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nowhere", "a module and a name in it"),
        (":tools", "a module and a name in it"),
        ("no_such_module:tools", "no module 'no_such_module'"),
        (f"{__name__}:no_such_name", "there is no 'no_such_name'"),
        (f"{__name__}:EMPTY", "has no tools"),
        (f"{__name__}:TWICE", "name each tool once"),
    ],
)
def test_what_names_no_tools_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(remit.ConfigError, match=reason):
        load_targets(spec)


def test_findings_of_one_cause_are_one_line() -> None:
    several = [Finding("tool", route, "it ran", "Guard it") for route in ("run", "arun", "func", "invoke")]
    assert lines([*several, Finding("tool", "copy", "it broke", "Mend it")]) == [
        "tool, by run, arun, func and 1 more: it ran. Guard it.",
        "tool, by copy: it broke. Mend it.",
    ]


def test_a_target_says_what_it_is_guarded_for() -> None:
    assert Target("tool", guarded(plain)).capabilities == ("tool:use",)

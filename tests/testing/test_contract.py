"""The contract: the toy adapter keeps it, and each of its tests fails for an adapter that breaks it."""

from __future__ import annotations

import inspect
import re
from contextvars import copy_context
from itertools import product

import pytest

from remit.testing import AdapterContract

from .broken import BROKEN
from .driven import ToyContract


class TestToyAdapter(ToyContract):
    """The contract as an adapter's author runs it."""


def suite(contract: type[AdapterContract]) -> list[str]:
    return [name for name in dir(contract) if name.startswith("test_")]


def failures(contract: type[AdapterContract], name: str) -> list[Exception]:
    """With what a test of the contract fails, of each of the ways."""
    said: list[Exception] = []
    suite = contract()
    wanted = inspect.signature(getattr(suite, name)).parameters
    bodies = ("function", "coroutine") if "body" in wanted else ("function",)
    for way, body in product(suite.ways if "way" in wanted else ("",), bodies):
        if body == "coroutine" and way in suite.sync_ways:
            continue
        given = {key: value for key, value in {"way": way, "body": body}.items() if key in wanted}
        try:
            copy_context().run(getattr(suite, name), **given)
        except Exception as error:  # noqa: BLE001 - a broken adapter may raise anything
            said.append(error)
    return said


@pytest.mark.parametrize(
    ("kind", "test"), [case[1:] for case in BROKEN], ids=[" - ".join((b[0], b[2])) for b in BROKEN]
)
def test_a_broken_adapter_is_noticed(kind: type[AdapterContract], test: str) -> None:
    said = failures(kind, test)
    assert said
    for error in said:
        if isinstance(error, AssertionError):
            sentence = str(error).partition(" Seen: ")[0]
            assert re.fullmatch(r"[A-Z].{30,}\.", sentence, re.DOTALL), "not a sentence that helps"


def test_each_test_of_the_contract_is_tried_on_a_broken_adapter() -> None:
    assert {test for _, _, test in BROKEN} == set(suite(ToyContract))


def test_an_adapter_that_keeps_the_contract_fails_nothing() -> None:
    assert [test for test in suite(ToyContract) if failures(ToyContract, test)] == []

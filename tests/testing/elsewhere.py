"""Tools of frameworks that another package writes: whoever names them need not be their author."""

from __future__ import annotations

from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import BaseTool as AutoGenTool
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel

import remit

from .holes import done

CAPABILITY = "orders:pay"
guarded = remit.requires_capability(CAPABILITY)


class Half(BaseTool):
    """Its asynchronous twin was forgotten."""

    name: str = "half"
    description: str = "Pays."

    @guarded
    def _run(self, order: str) -> str:
        return done(order)

    async def _arun(self, order: str) -> str:
        return done(order)


class Called(BaseTool):
    """It can be called without its guard."""

    name: str = "called"
    description: str = "Pays."

    @guarded
    def _run(self, order: str) -> str:
        return done(order)

    def __call__(self, order: str) -> str:
        return done(order)


@guarded
def pay(order: str) -> str:
    """Pay an order."""
    return done(order)


@guarded
async def pay_later(order: str) -> str:
    """Pay an order."""
    return done(order)


class Remade(StructuredTool):
    """Its copies are made of another function."""

    def __deepcopy__(self, memo: object = None) -> Any:
        def anew(order: str) -> str:
            return done(order)

        made = self.model_copy()
        made.func = anew
        return made


class Payment:
    """What can be called, and is no function."""

    __name__ = "payment"

    def __call__(self, order: str) -> str:
        return done(order)


def with_a_payment() -> StructuredTool:
    made = StructuredTool.from_function(coroutine=pay_later, name="pay", description="Pays.")
    made.func = Payment()
    return made


def remade() -> StructuredTool:
    return Remade.from_function(pay, name="pay", description="Pays.")


class Order(BaseModel):
    order: str


class Paying(AutoGenTool[Order, Order]):
    def __init__(self) -> None:
        super().__init__(Order, Order, "pay", "Pays.")

    async def run(self, args: Order, cancellation_token: CancellationToken) -> Order:
        done(args.order)
        return args

"""The tools: plain functions with type hints, each guarded for one capability.

The check is in the function, on the arguments it will run on: there is no way to call one of these,
from a framework or by hand, that goes around it.
"""

from collections.abc import Callable

import remit
from remit_demo.desk import Desk
from remit_demo.grants import SECRET


def desk_tools(desk: Desk) -> list[Callable[..., str]]:
    """Return the tools of the support desk."""

    @remit.requires_capability("customers:list")
    def list_customers() -> str:
        """List all customers."""
        return shown(desk.customers())

    @remit.requires_capability("customers:read")
    def read_customer(customer_id: str) -> str:
        """Look up a customer's name and address."""
        return shown(desk.customer(customer_id))

    @remit.requires_capability("orders:read")
    def read_orders(customer_id: str) -> str:
        """List a customer's orders: number, item and price."""
        return shown(desk.orders(customer_id))

    @remit.requires_capability("refunds:create")
    def refund_order(
        order_id: str,
        amount: int,
        api_key: remit.Secret = remit.secret(SECRET),
    ) -> str:
        """Send money back for an order."""
        return desk.refund(order_id, amount, api_key.reveal())

    return [list_customers, read_customer, read_orders, refund_order]


def shown(rows: list[tuple[object, ...]]) -> str:
    """Return rows as a model is told of them."""
    return "; ".join(", ".join(map(str, row)) for row in rows) or "nothing found"

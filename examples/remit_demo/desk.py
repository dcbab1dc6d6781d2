"""The support desk's database, and the payment provider behind it. Neither knows anything of Remit."""

import hmac
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

SCHEMA = """
CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers,
    item TEXT NOT NULL,
    price INTEGER NOT NULL
);
CREATE TABLE refunds (order_id TEXT NOT NULL REFERENCES orders, amount INTEGER NOT NULL);
INSERT INTO customers VALUES
    ('C-7', 'Ada Byron', 'ada@customers.example'),
    ('C-8', 'Alan Noon', 'alan@customers.example'),
    ('C-9', 'Grace Murray', 'grace@customers.example');
INSERT INTO orders VALUES
    ('O-1001', 'C-7', 'desk lamp', 40),
    ('O-1002', 'C-7', 'bookshelf', 95),
    ('O-2001', 'C-9', 'standing desk', 5000);
"""
REFUNDS = "SELECT order_id, amount FROM refunds"


class PaymentProvider:
    """Sends money to whoever shows the key, and, as some do, repeats the key in its answer.

    Args:
        key: what it expects to be shown.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.sent: list[tuple[str, int]] = []

    def refund(self, order_id: str, amount: int, key: str) -> str:
        """Send money back."""
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            raise PermissionError("401 wrong key")
        self.sent.append((order_id, amount))
        return f"200 OK, key {key}"


class Desk:
    """A real SQLite database with customers, orders and refunds.

    Args:
        path: a file that does not exist yet.
        provider: who sends the money.

    Raises:
        FileExistsError: when there is a file already.
    """

    def __init__(self, path: Path, provider: PaymentProvider) -> None:
        path.touch(exist_ok=False)
        self._path = path
        self._provider = provider
        with self._connection() as connection:
            connection.executescript(SCHEMA)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        # Agents run tools in threads of their own, and SQLite wants a connection in each.
        with closing(sqlite3.connect(self._path)) as connection, connection:
            yield connection

    def query(self, sql: str, *parameters: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with self._connection() as connection:
            return connection.execute(sql, parameters).fetchall()

    def customers(self) -> list[tuple[object, ...]]:
        """Return the number and name of every customer."""
        return self.query("SELECT id, name FROM customers ORDER BY id")

    def customer(self, customer_id: str) -> list[tuple[object, ...]]:
        """Return one customer."""
        return self.query("SELECT name, email FROM customers WHERE id = ?", customer_id)

    def orders(self, customer_id: str) -> list[tuple[object, ...]]:
        """Return a customer's orders."""
        return self.query("SELECT id, item, price FROM orders WHERE customer_id = ? ORDER BY id", customer_id)

    def refund(self, order_id: str, amount: int, key: str) -> str:
        """Send money back for an order; what the provider answered."""
        answer = self._provider.refund(order_id, amount, key)
        with self._connection() as connection:
            connection.execute("INSERT INTO refunds VALUES (?, ?)", (order_id, amount))
        return answer

    def refunds(self) -> list[tuple[object, ...]]:
        """Return every refund that was made."""
        return self.query(REFUNDS)

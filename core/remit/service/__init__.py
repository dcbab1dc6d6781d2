"""The issuing service, `remit serve`: tokens over HTTP, for agents in other processes and other languages.

Invariants:

- an instance holds nothing that another lacks: the policy file, the keys and the ledger are all there is,
  so that any number of them work behind a balancer;
- a token is never stored: it leaves in the response, and the ledger has what may be shown of it;
- whatever comes in is read strictly, within bounds of size and time, and is answered with JSON: what went
  wrong, and why, and never a trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remit.service.app import create_app
    from remit.service.instance import Instance

__all__ = ["Instance", "create_app"]


def __getattr__(name: str) -> object:
    if name == "create_app":
        from remit.service.app import create_app

        return create_app
    if name == "Instance":
        from remit.service.instance import Instance

        return Instance
    raise AttributeError(f"module 'remit.service' has no attribute {name!r}")

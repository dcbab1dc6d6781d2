"""Remit for web services: an ASGI middleware that guards the routes of an application by capability.

- `CapabilityMiddleware` lets a request through when its presentation allows the call that it is.
- `headers` makes the header in which a client sends a presentation.

It needs nothing but Remit, and works with FastAPI, Starlette and every other ASGI application.
"""

from .middleware import CapabilityMiddleware
from .request import headers

__all__ = ["CapabilityMiddleware", "headers"]

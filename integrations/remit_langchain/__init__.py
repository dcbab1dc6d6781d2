"""Remit for LangChain and LangGraph.

- `CapabilityMiddleware` binds one agent's credential around the tools that carry a capability.
- `guard_tools` makes tools that carry their credential, also of tools written by others.
- `cache_policy` keeps a node cache that agents share from serving one what was fetched for another.

Each is imported on use: `guard_tools` needs langchain-core, `cache_policy` langgraph, the other langchain.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .cache import cache_policy
    from .middleware import CapabilityMiddleware
    from .tools import guard_tools

__all__ = ["CapabilityMiddleware", "cache_policy", "guard_tools"]

_HOMES: Final = {"CapabilityMiddleware": "middleware", "cache_policy": "cache", "guard_tools": "tools"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("lang"):
            raise
        hint = f"{__name__}.{name} needs {error.name}: pip install 'remit[langchain]'"
        raise ModuleNotFoundError(hint, name=error.name) from error

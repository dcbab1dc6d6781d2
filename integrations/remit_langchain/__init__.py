"""Remit for LangChain and LangGraph.

- `CapabilityMiddleware` binds one agent's credential around the tools that carry a capability.
- `guard_tools` makes tools that carry their credential, also of tools written by others.
- `cache_policy` keeps a node cache that agents share from serving one what was fetched for another.
- `routes` lists the ways in which a tool can be reached, for `remit.testing`.

Each is imported on use: `CapabilityMiddleware` needs langchain, `cache_policy` langgraph, the others
langchain-core.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .cache import cache_policy
    from .middleware import CapabilityMiddleware
    from .tools import guard_tools
    from .ways import routes

__all__ = ["CapabilityMiddleware", "cache_policy", "guard_tools", "routes"]

_MODULES: Final = ("middleware", "cache", "tools", "ways")
_HOMES: Final = dict(zip(__all__, _MODULES, strict=True))


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

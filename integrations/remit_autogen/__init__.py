"""Remit for AutoGen.

- `CapabilityWorkbench` holds one agent's tools and runs those that carry a capability under its credential.
- `guard_tools` makes tools that carry their credential, also of tools written by others.
- `allowed_handoffs` keeps of an agent's hand-offs those that its credential grants.
- `routes` lists the ways in which a tool can be reached, for `remit.testing`.

Each is imported on use: `allowed_handoffs` needs autogen-agentchat, the others autogen-core.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .handoffs import allowed_handoffs
    from .tools import guard_tools
    from .ways import routes
    from .workbench import CapabilityWorkbench

__all__ = ["CapabilityWorkbench", "allowed_handoffs", "guard_tools", "routes"]

_MODULES: Final = ("workbench", "handoffs", "tools", "ways")
_HOMES: Final = dict(zip(__all__, _MODULES, strict=True))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("autogen"):
            raise
        hint = f"{__name__}.{name} needs {error.name}: pip install 'remit[autogen]'"
        raise ModuleNotFoundError(hint, name=error.name) from error

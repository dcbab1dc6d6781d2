"""Remit for CrewAI.

- `guard_tools` makes tools that carry their credential, also of tools written by others.
- `guard_crew` binds a whole crew in one call, each agent to its own credential.
- `grant_task` gives each run of a task a narrower credential of its own, which ends with the run.
- `routes` lists the ways in which a tool can be reached, for `remit.testing`.

Each is imported on use, and CrewAI with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .crews import grant_task, guard_crew
    from .tools import guard_tools
    from .ways import routes

__all__ = ["grant_task", "guard_crew", "guard_tools", "routes"]

_HOMES: Final = {"grant_task": "crews", "guard_crew": "crews", "guard_tools": "tools", "routes": "ways"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "crewai":
            raise
        hint = f"{__name__}.{name} needs {error.name}: pip install 'remit[crewai]'"
        raise ModuleNotFoundError(hint, name=error.name) from error

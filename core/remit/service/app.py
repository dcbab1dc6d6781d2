"""The application: its routes, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from remit._version import __version__

if TYPE_CHECKING:
    from remit.service.instance import Instance

__all__ = ["create_app"]


def create_app(instance: Instance) -> FastAPI:
    """Return the application for an instance that is open.

    Args:
        instance: what its routes work with; whoever opened it closes it.
    """
    return FastAPI(title="Remit", version=__version__, docs_url=None, redoc_url=None)

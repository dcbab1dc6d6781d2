"""Taking back a token, or all that an agent holds: asked once, then done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from remit.names import check_name
from remit.service.console.door import Form, redirect
from remit.service.console.registry import Registry
from remit.service.console.rendering import Renderer
from remit.service.console.session import Session
from remit.service.console.words import link
from remit.service.errors import ServiceError
from remit.service.instance import Instance
from remit.service.intake import read_query

__all__ = ["Revoking"]

_log: Final = logging.getLogger("remit")


class Revoking:
    """Asks, and revokes.

    Args:
        instance: whose guard revokes.
        renderer: makes the pages.
    """

    def __init__(self, instance: Instance, renderer: Renderer) -> None:
        self._guard, self._renderer = instance.guard, renderer
        self._registry = Registry(instance)

    def ask(self, request: Request, session: Session) -> Response:
        """Ask whether it is meant, and why."""
        kind, name = _target(read_query(request, ("token", "agent")))
        holding = self._registry.token(name) if kind == "token" else None
        return self._renderer.page(
            "revoke",
            session,
            kind=kind,
            name=name,
            holding=holding,
            is_revoked=kind == "token" and bool(self._registry.revoked([f"token:{name}"])),
        )

    def revoke(self, request: Request, form: Form, session: Session) -> Response:
        """Revoke, and show what it was done to. It is an action."""
        del request, session  # the form says what, and the door has looked at both
        kind, name = _target(form)
        reason = form.get("reason", "").strip() or None
        if kind == "token":
            is_news = self._guard.revoke(name, reason=reason)
            page = link("token", id=name, notice=_notice(is_news=is_news))
        else:
            is_news = self._guard.revoke_agent(name, reason=reason)
            page = link("agents", agent=name, notice=_notice(is_news=is_news))
        _log.info("remit: revoked from the console: %s %r", kind, name)
        return redirect(page)


def _target(given: Mapping[str, str]) -> tuple[str, str]:
    """Return what is to be revoked: which kind of thing, and its name.

    Raises:
        ServiceError: 400, when that is not one thing.
        ConfigError: when it can be the name of none.
    """
    named = [(kind, given[kind]) for kind in ("token", "agent") if given.get(kind)]
    if len(named) != 1:
        raise ServiceError(400, "invalid_request", "Name one token or one agent.")
    kind, name = named[0]
    return kind, check_name(kind, name)


def _notice(*, is_news: bool) -> str:
    return "revoked" if is_news else "already"

"""The door of the console: signing in and out, and what every page and every form must pass.

Invariants:

- without a session, every address leads to the sign-in page, and says nothing else;
- a form is looked at only when it comes from the console itself, in a session, with that session's token;
- where signing in leads is fixed, so that no link leads elsewhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from remit.errors import ConfigError, Denied
from remit.service.console.headers import PAGE
from remit.service.console.rendering import Renderer
from remit.service.console.session import LIFETIME, Session, Sessions
from remit.service.errors import ServiceError, status_of
from remit.service.gate import Gate
from remit.service.instance import Instance
from remit.service.intake import read_form

__all__ = ["HOME", "SIGN_IN", "Door"]

HOME: Final = "/console/agents"
SIGN_IN: Final = "/console/sign-in"

_PATH: Final = "/console"
_COOKIE: Final = "remit-console"
_SECURE_COOKIE: Final = f"__Secure-{_COOKIE}"
_LOOPBACK: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.ASCII)
_MAX_TOKEN: Final = 4096
_OUT: Final = "out"
_log: Final = logging.getLogger("remit")

Form: TypeAlias = Mapping[str, str]
View: TypeAlias = Callable[[Request, Session], Response]
Action: TypeAlias = Callable[[Request, Form, Session], Response]


class Door:
    """Lets in whoever has signed in.

    Args:
        instance: knows the keys that sessions are signed with.
        gate: knows the admin token, and counts failures.
        renderer: makes pages.
    """

    def __init__(self, instance: Instance, gate: Gate, renderer: Renderer) -> None:
        self._gate, self._renderer = gate, renderer
        self._sessions = Sessions(instance.keys, instance.access.admin, instance.clock)
        self._can_sign_in = instance.access.admin is not None
        self._is_https = urlsplit(instance.url).scheme == "https"

    def page(self, view: View) -> Callable[[Request], Response]:
        """Return an endpoint that shows `view` to whoever has signed in. It runs in a thread."""

        def endpoint(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return redirect(SIGN_IN)
            return self._answered(session, partial(view, request, session))

        return endpoint

    def action(self, action: Action) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that does what a form of this session asks for, in a thread."""

        async def endpoint(request: Request) -> Response:
            session = await run_in_threadpool(self._session, request)
            if session is None:
                return redirect(SIGN_IN)
            try:
                check_origin(request)
                form = await read_form(request)
                check_form(form, session)
            except ServiceError as error:
                return self._problem(session, error)
            return await run_in_threadpool(self._answered, session, partial(action, request, form, session))

        return endpoint

    def show_sign_in(self, request: Request) -> Response:
        """Answer with the form to sign in, or lead on whoever has."""
        if self._session(request) is not None:
            return redirect(HOME)
        return self._sign_in_page(is_out=request.query_params.get("notice") == _OUT)

    async def sign_in(self, request: Request) -> Response:
        """Start a session for whoever shows the admin token."""
        try:
            check_origin(request)
            token = (await read_form(request)).get("token", "")
            if not await run_in_threadpool(self._is_admin, request, token):
                return self._sign_in_page(HTTPStatus.UNAUTHORIZED, "This is not the admin token.")
        except ServiceError as error:
            return self._sign_in_page(error.status, error.reason, error.headers)
        session = await run_in_threadpool(self._sessions.start)
        _log.info("remit: the administrator signed in to the console")
        return self._with_cookie(request, redirect(HOME), session.cookie, LIFETIME)

    def sign_out(self, request: Request, form: Form, session: Session) -> Response:
        """End the session, in this browser. It is an action."""
        del form, session  # that they were right is all
        return self._with_cookie(request, redirect(f"{SIGN_IN}?notice={_OUT}"), "", 0)

    def _is_admin(self, request: Request, token: str) -> bool:
        return self._gate.signed_in(request, token[:_MAX_TOKEN])

    def _session(self, request: Request) -> Session | None:
        return self._sessions.read(request.cookies.get(self._cookie_name(request)))

    def _answered(self, session: Session, view: Callable[[], Response]) -> Response:
        try:
            return view()
        except ServiceError as error:
            return self._problem(session, error)
        except Denied as error:
            return self._problem(session, ServiceError(status_of(error), error.code, error.reason))
        except ConfigError as error:  # a name that is none
            return self._problem(session, ServiceError(400, "invalid_request", f"{error}."))

    def _problem(self, session: Session, error: ServiceError) -> Response:
        return self._renderer.problem(session, error.status, error.code, error.reason, error.headers)

    def _sign_in_page(
        self,
        status: int = HTTPStatus.OK,
        problem: str | None = None,
        headers: Form | None = None,
        *,
        is_out: bool = False,
    ) -> Response:
        return self._renderer.page(
            "sign_in",
            None,
            status=status,
            headers=headers,
            problem=problem,
            can_sign_in=self._can_sign_in,
            is_out=is_out,
        )

    def _cookie_name(self, request: Request) -> str:
        return _SECURE_COOKIE if self._is_secure(request) else _COOKIE

    def _is_secure(self, request: Request) -> bool:
        """Tell whether the browser came over TLS, perhaps as far as a proxy only."""
        if request.url.scheme == "https":
            return True
        return self._is_https and not _is_loopback(request.headers.get("host", ""))

    def _with_cookie(self, request: Request, response: Response, value: str, seconds: int) -> Response:
        response.set_cookie(
            self._cookie_name(request),
            value,
            max_age=seconds,
            path=_PATH,
            secure=self._is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return response


def redirect(address: str) -> Response:
    """Return a response that leads to another page of the console."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, PAGE)


def check_origin(request: Request) -> None:
    """Take a form from the console's own pages alone.

    Browsers say where a form is from: by `Sec-Fetch-Site`, where the connection is one to be trusted, else
    by `Origin`. What says neither is no browser of these years, and has the form's token to show.

    Raises:
        ServiceError: when it is from elsewhere.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_own = site == "same-origin"
    else:
        origin = request.headers.get("origin")
        # A proxy may have taken off the TLS, so only the host is compared.
        is_own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_own:
        raise ServiceError(403, "forbidden", "This form was not sent from the console.")


def check_form(form: Form, session: Session) -> None:
    """Take a form with the token of the session alone.

    Raises:
        ServiceError: when it has none, or another.
    """
    if not session.is_form_token(form.get("form_token", "")):
        raise ServiceError(403, "forbidden", "This form was not made for your session.")


def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host) is not None

"""The middleware: a request is let through when its presentation allows the call that it is.

Invariants:

- the application gets what was checked: its body and query are written anew from what was parsed;
- it gets no header by which it could take a request for one of another method;
- it runs inside the permit, so that a guarded function in it runs under that permit, once;
- a request that could be read in two ways is refused, even where neither would do harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Final

import remit

from .refusal import App, Message, Receive, Refusal, Scope, Send, refuse
from .request import OVERRIDE, Asked, read
from .table import Table

__all__ = ["CapabilityMiddleware"]

_FAILED: Final = 400


class RequestFailed(Exception):
    """How an allowed request ended that was not answered, or answered with an error; recorded by name."""


class CapabilityMiddleware:
    """Guards the routes of an ASGI application by capability.

    The arguments of a call are the parameters of the path, and the members of a JSON body for `POST`,
    `PUT` and `PATCH`, or the parameters of the query for all other methods. `POST /trades/{account}?note`
    names a parameter of the query that the route takes beside its body; `&` is between several. An
    argument in another place is refused. Those of path and query are text.

    The presentation is in the header `Remit-Presentation`, or in the members `aat_chain` and `aat_pop` of
    a JSON body that has the arguments in `arguments`.

    In the application, `scope["remit"]` is the `remit.Permit` of the request. WebSockets are refused.

    Args:
        app: the application, or what is left of it inside this, when it is added by `add_middleware`.
        guard: decides. Give it an `audience` and `require_proof_audience`, so that a proof for another
            service is none here.
        routes: method and path, such as `POST /trades/{account}`, to capability. Of two entries that
            name a request the first counts, as in Starlette.
        public: methods and paths that need no presentation, such as `GET /healthz`, where no entry of
            `routes` names them.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(
        self, app: App, guard: remit.Guard, routes: Mapping[str, str], public: Iterable[str] = ()
    ) -> None:
        if not isinstance(guard, remit.Guard):
            raise remit.ConfigError("guard must be a Guard")
        self._app, self._guard, self._table = app, guard, Table(routes, public)
        self._pool = ThreadPoolExecutor(32, "remit-verify")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})  # against the policy
        scope = {**scope, "headers": [each for each in scope["headers"] if not OVERRIDE.fullmatch(each[0])]}
        try:
            allowed = await self._allowed(scope, receive)
        except (Refusal, remit.Denied) as refused:
            return await refuse(send, refused)
        if allowed is not None:
            return await self._run(*allowed, scope, receive, send)
        with remit.unbound():
            return await self._app(scope, receive, send)

    async def _allowed(self, scope: Scope, receive: Receive) -> tuple[remit.Permit, Asked] | None:
        """Return the permit for a request and what it asks for, or None where it is public.

        The guard is asked in a thread, since it may wait for a network.
        """
        entry, path = self._table.find(scope)
        if entry.capability is None:
            return None
        asked = await read(scope, receive, path, entry.beside)
        verify = partial(self._guard.verify, asked.presentation, entry.capability, asked.arguments)
        work = self._pool.submit(copy_context().run, verify)
        try:
            return await asyncio.wrap_future(work), asked
        except BaseException as reason:  # denied, or nobody waits any more: then it never runs
            work.add_done_callback(partial(_give_up, reason))
            raise

    async def _run(
        self, permit: remit.Permit, asked: Asked, scope: Scope, receive: Receive, send: Send
    ) -> None:
        inner, body = asked.handed_on(scope, permit)
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        status, complete = 0, False

        async def replayed() -> Message:
            return waiting.pop() if waiting else await receive()

        async def watched(message: Message) -> None:
            nonlocal status, complete
            status = message.get("status", status)
            await send(message)
            complete = message["type"] != "http.response.start" and not message.get("more_body", False)

        try:
            with suppress(RequestFailed), permit:
                await self._app(inner, replayed, watched)
                if not complete or status >= _FAILED:
                    raise RequestFailed
        except remit.Denied as denied:
            if status:
                raise
            await refuse(send, denied)


def _give_up(reason: BaseException, work: Future[remit.Permit]) -> None:
    """Record that what was allowed was never run; a denial is recorded already."""
    with suppress(BaseException), work.result():  # it is raised for the record alone
        raise reason

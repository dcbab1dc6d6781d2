"""The console at `/console`: who holds what, who passed it on, what was decided, and a button to stop it.

Pages are made here, on the server, and work without JavaScript. What they show of tokens and logs is somebody
else's text, and is escaped in one place (`rendering`); what they let in, they let in at one (`door`).
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from remit.service.console.assets import Assets
from remit.service.console.door import HOME, SIGN_IN, Door, redirect
from remit.service.console.rendering import Renderer
from remit.service.console.revoking import Revoking
from remit.service.console.session import Session
from remit.service.console.views import Views
from remit.service.errors import ServiceError
from remit.service.gate import Gate
from remit.service.instance import Instance

__all__ = ["router"]


def router(instance: Instance, gate: Gate) -> APIRouter:
    """Return the routes of the console.

    Args:
        instance: what it shows, and revokes with.
        gate: knows the admin token, and counts failures to sign in.
    """
    assets = Assets()
    renderer = Renderer(assets, instance.clock)
    door = Door(instance, gate, renderer)
    views, revoking = Views(instance, renderer), Revoking(instance, renderer)
    routes = APIRouter(include_in_schema=False)
    routes.add_route("/console/static/{name}", assets.serve, ["GET"])
    routes.add_route(SIGN_IN, door.show_sign_in, ["GET"])
    routes.add_route(SIGN_IN, door.sign_in, ["POST"])
    routes.add_route("/console/sign-out", door.action(door.sign_out), ["POST"])
    routes.add_route("/console/agents", door.page(views.agents), ["GET"])
    routes.add_route("/console/graph", door.page(views.graph), ["GET"])
    routes.add_route("/console/audit", door.page(views.audit), ["GET"])
    routes.add_route("/console/token", door.page(views.token), ["GET"])
    routes.add_route("/console/revoke", door.page(revoking.ask), ["GET"])
    routes.add_route("/console/revoke", door.action(revoking.revoke), ["POST"])
    routes.add_route("/console", door.page(_home), ["GET"])
    routes.add_route("/console/{rest:path}", door.page(_nowhere), ["GET"])
    return routes


def _home(request: Request, session: Session) -> Response:  # noqa: ARG001 - as every view
    """Lead to the first page."""
    return redirect(HOME)


def _nowhere(request: Request, session: Session) -> Response:  # noqa: ARG001 - as every view
    """Say that there is no such page, to whoever has signed in."""
    raise ServiceError(404, "not_found", "The console has no such page.")

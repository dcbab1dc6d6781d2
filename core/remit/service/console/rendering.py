"""Pages out of templates. Whatever a page shows is tamed and escaped here, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from remit.names import Clock, read_clock
from remit.service.console import words
from remit.service.console.assets import Assets
from remit.service.console.headers import PAGE
from remit.service.console.session import Session

__all__ = ["Renderer"]

_WORDS: Final = ("abridged", "clock", "day", "foreign", "instant", "lasting", "plural", "short", "when")


class Renderer:
    """Makes responses of templates.

    Args:
        assets: the files that pages refer to.
        clock: seconds since the epoch.
    """

    def __init__(self, assets: Assets, clock: Clock) -> None:
        self._assets, self._clock = assets, clock

    def page(
        self,
        template: str,
        session: Session | None,
        *,
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> HTMLResponse:
        """Return a page.

        Args:
            template: the template's name, without its ending.
            session: the session, whose token the forms carry; None for a page before signing in.
            status: the HTTP status.
            headers: what else the response says.
            values: what the template shows.
        """
        now = read_clock(self._clock)
        text = (
            _templates()
            .get_template(f"{template}.html")
            .render(asset=self._assets.address, session=session, now=now, **values)
        )
        return HTMLResponse(text, status, {**(headers or {}), **PAGE})

    def problem(
        self, session: Session | None, status: int, code: str, reason: str, headers: Mapping[str, str]
    ) -> HTMLResponse:
        """Return a page that says what went wrong."""
        title = HTTPStatus(status).phrase
        return self.page(
            "problem", session, status=status, headers=headers, title=title, code=code, reason=reason
        )


@cache
def _templates() -> Environment:
    """Return the templates, which are compiled once in a process."""
    templates = Environment(
        loader=PackageLoader("remit.service.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.tame,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update({name: getattr(words, name) for name in _WORDS})
    # Jinja leaves its type open, and pyright takes it for that of what is there to begin with.
    templates.globals["link"] = words.link  # pyright: ignore[reportArgumentType]
    templates.globals["relative"] = words.relative  # pyright: ignore[reportArgumentType]
    return templates

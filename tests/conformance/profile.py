"""Remit's profile as an issuer writes it, said again by the forge under keys of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import remit

from .forge import ISSUER, NOW, Story, story, unb64

FEATURES: Final = ("nbf", "sid", "task", "delegate_only", "limits")


def written(**options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as the issuer writes them."""
    issuer = remit.Issuer.generate(ISSUER, clock=lambda: NOW)
    token = issuer.issue(agent="reader", capabilities=["read_file", "search"], **options).token
    head, body, _ = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(body))


LIMIT: Final = remit.Limit(max_uses=2, rate="5/m", budget={"limit": 50})
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "nbf": {"not_before": datetime.fromtimestamp(NOW - 10, UTC)},
    "sid": {"session": "s-1"},
    "task": {"task": "t-1"},
    "delegate_only": {"delegate_only": ["search"]},
    "limits": {"limits": {"search": LIMIT}},
}


def issued(feature: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that uses `feature`."""
    return written(**OPTIONS[feature])


def says(feature: str, value: Any = None, depth: int = 0, index: int = 0, *, listed: bool = True) -> Story:
    """A story one of whose links uses `feature`, in the issuer's own words unless `value` is given."""
    header, claims = issued(feature)
    made = story(depth)
    made.links[index].set(**{feature: claims[feature] if value is None else value})
    if listed:
        made.links[index].header.update({name: header[name] for name in ("crit", "remit")})
    return made


VERIFY: Final[dict[str, dict[str, Any]]] = {"sid": {"session": "s-1"}, "task": {"task": "t-1"}}

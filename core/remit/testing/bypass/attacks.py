"""The known ways around a guard, each tried on every route of a tool.

An attack yields a finding for each route on which it got through. What was found once is not found again:
an attack that needs a credential is only tried on the routes that lead to a decision at all.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, cast

import remit
from remit.errors import ConfigError
from remit.testing.adapter import Route
from remit.testing.bypass.finding import Finding
from remit.testing.bypass.functions import is_function, is_guarded
from remit.testing.bypass.target import Target
from remit.testing.bypass.trial import Outcome, Trial

__all__ = ["Attack", "attacks_on"]

Attack: TypeAlias = Callable[[], Iterator[Finding]]
"""Tries one way around the guard of one tool."""

_DECORATE: Final = (
    "Guard it as well: put @remit.requires_capability on it, outermost, or make the tool with guard_tools"
)
_REPORT: Final = "This must not happen whatever a tool does: please report it to Remit"
_OTHER: Final = "something-else:use"


def attacks_on(target: Target) -> dict[str, Attack]:
    """Return the attacks that can be tried on a tool, by name.

    Where nothing guards the tool, or no arguments can be made for it, the one attack says so.
    """
    trial = Trial(target)
    named: Mapping[str, Any] = {}
    routes: Mapping[str, Route] = {}
    found = list(_unguarded(target))
    if found:
        return {"guarded": lambda: iter(found)}
    try:
        named, routes = target.arguments, target.routes
        refused = trial.refused(target)
    except ConfigError as error:
        what = "it cannot be tried" if is_function(target.tool) else "its routes are not known"
        refused = f"{what}: {error}"
    if refused is not None:
        finding = Finding(target.name, "any route", refused, "Until then nothing is known of it")
        return {"guarded": lambda: iter(()), "every route": lambda: iter([finding])}
    attacks: dict[str, Callable[[Trial], Iterator[Finding]]] = {**_ALWAYS}
    if any(isinstance(value, list | dict) for value in named.values()):
        attacks["arguments changed after the check"] = _changed
    if any(isinstance(value, str) for value in named.values()):
        attacks["arguments that lie"] = _lying
    if routes and not is_function(target.tool):
        attacks["a credential that is around"] = _around
    bound = {name: _of(attack, trial) for name, attack in attacks.items()}
    return {"guarded": lambda: iter(()), **bound}


def _of(attack: Callable[[Trial], Iterator[Finding]], trial: Trial) -> Attack:
    def attacked() -> Iterator[Finding]:
        with trial.standing.in_place():
            if attack is _nothing_bound or trial.answered is None:
                yield from attack(trial)

    return attacked


# ── without a credential ────────────────────────────────────────────────────────────────────────────────────
def _unguarded(target: Target) -> Iterator[Finding]:
    tool = target.tool
    if not target.guarded:
        said = getattr(tool, "__capability__", None)
        happened = (
            "nothing guards it" if said is None else "it says __capability__, but nothing checks a call"
        )
        yield Finding(target.name, "a call", happened, _DECORATE.replace("Guard it as well", "Guard it"))
    elif is_function(tool) and not is_guarded(_of_partial(tool)):
        kept = hasattr(tool, "cache_clear") or hasattr(tool, "cache_info")
        what = (
            "a cache answers before the guard is asked" if kept else "its outermost function is not the guard"
        )
        yield Finding(
            target.name,
            "a call",
            what,
            "Put @remit.requires_capability above all other decorators of the tool",
        )


def _of_partial(tool: Any) -> Any:
    """Return what a partial calls: it adds arguments and nothing else."""
    while type(cast("object", tool)) is partial or hasattr(tool, "__func__"):
        tool = getattr(tool, "__func__", None) or getattr(tool, "func", None)
    return tool


def _nothing_bound(trial: Trial) -> Iterator[Finding]:
    for name, outcome in trial.unbound.items():
        if outcome.answered:
            happened = "it answered with nothing bound, and no guard was asked; nothing else was tried on it"
            yield Finding(trial.target.name, name, happened, _DECORATE)
        elif (begun := outcome.undecided) is not None:
            yield Finding(
                trial.target.name, name, f"{begun.function} ran with no decision before it", _DECORATE
            )
        elif outcome.begun:
            yield Finding(trial.target.name, name, "it ran with nothing bound", _REPORT)


def _every_route(trial: Trial) -> Iterator[Finding]:
    for name in trial.target.routes:
        if trial.unbound[name].undecided is None and not trial.tried(name):
            error = trial.allowed[name].error
            denied = trial.allowed[name].denied
            happened = "it led neither to the guard nor to the tool"
            if denied is not None:
                happened = f"it could not be tried, for it is denied with {denied}"
            elif error is not None:
                happened = (
                    f"it could not be tried: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
                )
            yield Finding(
                trial.target.name, name, happened, "Give sample arguments that fit: (tool, {'name': value})"
            )


def _bare(trial: Trial) -> Iterator[Finding]:
    begun = {b.function for outcome in trial.unbound.values() for b in outcome.begun}
    for path, function in trial.target.anatomy.bare().items():
        name = function.__code__.co_qualname
        if not any(name == each.partition(" (")[0] for each in begun):
            yield Finding(
                trial.target.name,
                path,
                f"{name} can be had without its guard",
                "Delete __wrapped__, which functools.wraps sets, and every other attribute that leads there",
            )


def _copies(trial: Trial) -> Iterator[Finding]:
    makers: dict[str, Callable[[Any], Any]] = {
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "pickle": lambda tool: pickle.loads(pickle.dumps(tool)),  # noqa: S301 - the user's own tool, made here
        "model_copy": lambda tool: tool.model_copy(),
        "deep model_copy": lambda tool: tool.model_copy(deep=True),
    }
    for how, maker in makers.items():
        try:
            made = replace(trial.target, tool=maker(trial.target.tool))
            routes, refused = made.routes, trial.refused(made)
        except Exception:  # noqa: BLE001, S112 - what cannot be copied, whatever it raises, has no copies
            continue
        if refused is not None:
            yield Finding(trial.target.name, f"a {how}", refused, "Let copies keep the same functions")
            continue
        with trial.under(None):
            for name, route in routes.items():
                begun = trial.go(route).undecided
                if begun is not None and name in trial.sound:
                    yield Finding(
                        trial.target.name,
                        f"{name} of a {how}",
                        f"{begun.function} ran with no decision before it",
                        "Keep the guarded function in what is copied",
                    )


# ── under a binding that is not for this call ───────────────────────────────────────────────────────────────
def _another_thread(trial: Trial) -> Iterator[Finding]:
    def run(route: Route) -> Outcome:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(Context().run, trial.go, route).result()

    with trial.under(trial.grant()), trial.carrying(None):
        yield from _through(trial, run, "it ran in a thread in which nothing was bound")


def _after_the_block(trial: Trial) -> Iterator[Finding]:
    with trial.under(trial.grant()), trial.carrying(None):
        kept = copy_context()
    yield from _through(
        trial,
        lambda route: kept.copy().run(trial.go, route),
        "it ran in a context kept from a block that was over",
    )


def _another_capability(trial: Trial) -> Iterator[Finding]:
    credential = trial.grant(_OTHER, *trial.target.capabilities)
    with trial.under(credential, capability=_OTHER), trial.carrying(None):
        yield from _through(trial, trial.go, "it ran under a binding for one call of another capability")
    with trial.under(trial.grant(_OTHER)):
        yield from _through(trial, trial.go, "it ran under a credential of another agent, for another tool")


def _another_agent(trial: Trial) -> Iterator[Finding]:
    with trial.under(trial.grant(), agent="somebody else"), trial.carrying(None):
        yield from _through(trial, trial.go, "it ran under a token that names another agent")


def _closed(trial: Trial) -> Iterator[Finding]:
    credential = trial.grant()
    credential.close()
    with trial.under(credential):
        yield from _through(trial, trial.go, "it ran under a closed credential")


def _expired(trial: Trial) -> Iterator[Finding]:
    credential = trial.grant(ttl="1m")
    trial.world.clock.advance("2m")
    with trial.under(credential):
        yield from _through(trial, trial.go, "it ran under an expired credential")


def _revoked(trial: Trial) -> Iterator[Finding]:
    credential = trial.grant()
    trial.world.guard.revoke(credential.token_id, reason="as an attack")
    with trial.under(credential):
        yield from _through(trial, trial.go, "it ran under a revoked credential")


def _around(trial: Trial) -> Iterator[Finding]:
    with trial.under(None), trial.carrying(trial.grant()):
        carrying = {name: route for name, route in trial.sound.items() if trial.go(route).begun}
    with trial.under(trial.grant()), trial.carrying(None):
        yield from _through(
            trial,
            trial.go,
            "it carries a credential that denies, and ran under the one around it",
            only=carrying,
            remedy="Make the tool with guard_tools, which binds its own credential in every call",
        )


# ── with arguments that are not what they seem ──────────────────────────────────────────────────────────────
def _undeclared(trial: Trial) -> Iterator[Finding]:
    arguments = trial.target.arguments
    declared = {name: remit.Anything().optional() for name in arguments} or {
        "nothing": remit.Anything().optional()
    }
    grants = [remit.Capability(name, **declared) for name in trial.target.capabilities]
    for extra in ("remit_extra", "self", "api_key"):
        if extra in arguments:
            continue
        with trial.under(trial.grant(*grants)):
            for name, route in trial.sound.items():
                for begun in trial.go(route, {**arguments, extra: "forged"}).begun:
                    if "forged" in repr(begun.arguments):
                        yield Finding(
                            trial.target.name, name, f"it ran with {extra!r}, which nobody granted", _REPORT
                        )


def _changed(trial: Trial) -> Iterator[Finding]:
    """Between the decision and the tool, the caller changes what it passed."""
    plain = trial.target.arguments
    passed: dict[str, Any] = {}

    def change() -> None:
        for value in passed.values():
            if isinstance(value, list):
                cast("list[object]", value).append("changed")
            elif isinstance(value, dict):
                value["changed"] = "changed"

    for name, route in trial.sound.items():
        passed = copy.deepcopy(plain)
        trial.on_decision = change
        try:
            with trial.under(trial.grant()):
                outcome = trial.go(route, passed)
        finally:
            trial.on_decision = None
        if "changed" in repr([begun.arguments for begun in outcome.begun]):
            yield Finding(
                trial.target.name, name, "it ran on arguments that were changed after the check", _REPORT
            )


class _Lie(str):
    """A text that says it equals whatever it is compared with."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("sample")


def _lying(trial: Trial) -> Iterator[Finding]:
    """An argument says that it is the one value that is granted."""
    arguments = trial.target.arguments
    texts = {name: value for name, value in arguments.items() if isinstance(value, str)}
    others: Mapping[str, Any] = {name: remit.Anything().optional() for name in arguments}
    named = {**others, **{name: remit.Exact(str(value)) for name, value in texts.items()}}
    grants = [remit.Capability(capability, **named) for capability in trial.target.capabilities]
    lies = {name: _Lie("a lie") for name in texts}
    with trial.under(trial.grant(*grants)):
        for name, route in trial.sound.items():
            for begun in trial.go(route, {**arguments, **lies}).begun:
                if "a lie" in repr({key: str.__str__(value) for key, value in _texts(begun.arguments)}):
                    yield Finding(
                        trial.target.name,
                        name,
                        "it ran on an argument that only said it was the granted one",
                        _REPORT,
                    )


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in arguments.items():
        if isinstance(value, str):
            yield name, value


def _cached(trial: Trial) -> Iterator[Finding]:
    """The same call twice: allowed, and then denied."""
    for name, route in trial.sound.items():
        trial.standing.answers = True
        try:
            with trial.under(trial.grant()):
                first = trial.go(route)
            with trial.under(None):
                second = trial.go(route)
        finally:
            trial.standing.answers = False
        if first.begun and not second.begun and second.denied is None and second.error is None:
            yield Finding(
                trial.target.name,
                name,
                "a second call was answered from a cache, with no decision",
                "Let nothing keep the results of a guarded tool, or keep them inside its function",
            )


def _through(
    trial: Trial,
    run: Callable[[Route], Outcome],
    happened: str,
    *,
    only: Mapping[str, Route] | None = None,
    remedy: str = _REPORT,
) -> Iterator[Finding]:
    for name, route in (trial.sound if only is None else only).items():
        if run(route).begun:
            yield Finding(trial.target.name, name, happened, remedy)


_ALWAYS: Final[Mapping[str, Callable[[Trial], Iterator[Finding]]]] = {
    "every route": _every_route,
    "nothing bound": _nothing_bound,
    "the bare function": _bare,
    "copies": _copies,
    "another thread": _another_thread,
    "after the block": _after_the_block,
    "another capability": _another_capability,
    "another agent": _another_agent,
    "a closed credential": _closed,
    "an expired credential": _expired,
    "a revoked credential": _revoked,
    "undeclared arguments": _undeclared,
    "a cache": _cached,
}

"""The contract: native tools that carry their credential, and every way to reach them."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, cast

import remit
from remit.testing.adapter import Adapter, Route
from remit.testing.decisions import reading
from remit.testing.records import ARCHIVE, READ, WRITE, Records
from remit.testing.say import must
from remit.testing.world import World

__all__ = ["ToolsCarryTheirCredential", "private_key"]

_DEPTH: Final = 6
_PLAIN: Final = (str, bytes, int, float, type, ModuleType)


class ToolsCarryTheirCredential(Adapter):
    """A native tool of `guard_tools` runs under its own credential on every route, and shows none of it."""

    def test_no_route_goes_around_the_check(self) -> None:
        for records, tool, world in self._readers():
            for name, route in self.routes(tool).items():
                code, result = self._outcome(route, {"record": "no"})
                must(not records.done, f"Route {name!r} ran the tool although the argument is denied.")
                must(
                    code == "argument_denied",
                    f"Route {name!r} must deny with the code of the denial.",
                    result,
                )
                must(
                    world.audit.verdicts()[-1:] == [("reader", READ, "argument_denied")],
                    f"Route {name!r} was answered without a decision.",
                    result,
                )

    def test_every_route_works_where_it_is_allowed(self) -> None:
        for records, tool, world in self._readers():
            for name, route in self.routes(tool).items():
                records.done.clear()
                before = len(world.audit.decisions), len(world.audit.outcomes)
                code, result = self._outcome(route, {"record": "ok"})
                must(code is None, f"Route {name!r} was denied although the call is allowed.", result)
                must(
                    records.done == [("read", "ok")], f"Route {name!r} must run the tool once.", records.done
                )
                now = len(world.audit.decisions), len(world.audit.outcomes)
                must(
                    now == (before[0] + 1, before[1] + 1),
                    f"Route {name!r} must make one decision and one outcome.",
                    (before, now),
                )

    def test_the_routes_are_many(self) -> None:
        for _, tool, _ in self._readers():
            must(len(self.routes(tool)) > 1, "Name every route to the tool, not only the usual one.")

    def test_what_is_bound_around_does_not_help_a_tool(self) -> None:
        for records, tool, world in self._readers():
            with world.guard.acting_as(world.grant("boss", READ)):
                for name, route in self.routes(tool).items():
                    code, result = self._outcome(route, {"record": "no"})
                    must(
                        code == "argument_denied" and not records.done,
                        f"Route {name!r} ran under the credential around it, not under the tool's own.",
                        result,
                    )
            agents = {agent for agent, _, _ in world.audit.verdicts()}
            must(agents == {"reader"}, "Only the tool's own credential may be asked.", agents)

    def test_no_route_outlives_its_credential(self) -> None:
        def revoke(world: World, credential: remit.Credential) -> None:
            world.guard.revoke(credential.token_id, reason="as a test")

        ends: dict[str, Callable[[World, remit.Credential], object]] = {
            "credential_closed": lambda _, credential: credential.close(),
            "token_expired": lambda world, _: world.clock.advance("11m"),
            "token_revoked": revoke,
        }
        for expected, end in ends.items():
            world, records = World(), Records()
            credential = world.grant("reader", READ)
            tool = self.guarded(records.read(), world.guard, credential)
            end(world, credential)
            for name, route in self.routes(tool).items():
                code, result = self._outcome(route, {"record": "ok"})
                must(
                    code == expected and not records.done,
                    f"Route {name!r} must be denied with {expected!r} from then on.",
                    result,
                )

    def test_a_copy_is_no_way_around(self) -> None:
        for records, tool, _ in self._readers():
            for name, made in _copies(tool):
                for route_name, route in self.routes(made).items():
                    code, result = self._outcome(route, {"record": "no"})
                    must(
                        code == "argument_denied" and not records.done,
                        f"Route {route_name!r} of a copy ({name}) went around the check.",
                        result,
                    )

    def test_nothing_leads_to_the_bare_function(self) -> None:
        for records, tool, _ in self._readers():
            for path, code in _code_within(tool):
                must(
                    code not in records.bodies,
                    f"The bare function can be had as {path}: what is kept in a tool must be guarded, and "
                    "have no __wrapped__.",
                )

    def test_the_original_stays_as_it_was(self) -> None:
        world, records = World(), Records()
        read = records.read(decorated=False)
        self.guarded(read, world.guard, world.grant("reader", READ), READ)
        read(record="no")
        must(
            records.done == [("read", "no")] and not world.audit.records,
            "A function from which a guarded tool was made must stay as it was.",
            records.done,
        )

    def test_the_schema_is_the_functions_own(self) -> None:
        world, records = World(), Records()
        tool = self.guarded(records.write(), world.guard, world.grant("writer", WRITE))
        schema = self.schema(tool)
        properties = schema.get("properties", {})
        must(
            list(properties) == ["record", "pages"],
            "The model must be shown the function's parameters, in order.",
            schema,
        )
        kinds = [properties[name].get("type") for name in ("record", "pages")]
        must(kinds == ["string", "integer"], "The types of the parameters must be kept.", schema)
        must("record" in schema.get("required", ()), "A parameter without a default is required.", schema)
        must("pages" not in schema.get("required", ()), "A parameter with a default is not required.", schema)

    def test_a_secret_is_no_parameter(self) -> None:
        tool, _, _ = self._archivist()
        properties = self.schema(tool).get("properties", {})
        must(list(properties) == ["host"], "The model must not be shown the secret's parameter.", properties)

    def test_a_secret_reaches_the_tool_and_not_the_answer(self) -> None:
        tool, records, secret = self._archivist()
        for name, route in self.routes(tool).items():
            records.done.clear()
            _, result = self._outcome(route, {"host": "main"})
            must(
                records.done == [("archive", "main", secret)],
                f"Route {name!r} must give the tool its secret.",
                len(records.done),
            )
            must(secret not in str(result) + repr(result), f"Route {name!r} showed the secret in its answer.")
            _, failure = self._outcome(route, {"host": "broken"})
            shown = f"{failure!s} {failure!r} {getattr(failure, '__cause__', '')!r}"
            must(secret not in shown, f"Route {name!r} showed the secret in an error.")

    def test_a_secret_cannot_be_given_by_the_model(self) -> None:
        tool, records, secret = self._archivist()
        for name, route in self.routes(tool).items():
            records.done.clear()
            self._outcome(route, {"host": "main", "key": "forged"})
            must(
                all(value == secret for _, _, value in records.done),
                f"Route {name!r} gave the tool what the model wrote for its secret.",
            )

    def test_neither_token_nor_key_is_in_a_tool(self) -> None:
        world, records = World(secrets={"ARCHIVE_KEY": "swordfish-41"}), Records()
        credential = world.grant("archivist", ARCHIVE, secrets=["ARCHIVE_KEY"])
        hidden = {"token": credential.token, "key": private_key(credential), "secret": "swordfish-41"}
        tool = self.guarded(records.archive(), world.guard, credential)
        shown = {
            "repr": repr(tool),
            "str": str(tool),
            "attributes": repr([repr(value) for _, value in _attributes(tool)]),
            "schema": json.dumps(self.schema(tool), default=repr),
        }
        for name, route in self.routes(tool).items():
            shown[f"answer of route {name!r}"] = repr(self._outcome(route, {"host": "main"})[1])
        for where, text in shown.items():
            for what, value in hidden.items():
                must(value not in text, f"A tool shows the {what} in its {where}.")

    def _readers(self) -> Iterator[tuple[Records, Any, World]]:
        """Make tools that may read the record `ok` alone, of each kind of function that can be a tool."""
        asynchronous = set(self.ways) - set(self.sync_ways)
        for body in ("function", "coroutine") if asynchronous else ("function",):
            for decorated in (True, False):
                world, records = World(), Records()
                function = records.read(body, decorated=decorated)
                named = None if decorated else READ
                yield (
                    records,
                    self.guarded(function, world.guard, world.grant("reader", reading("ok")), named),
                    world,
                )

    def _archivist(self) -> tuple[Any, Records, str]:
        """Make the tool that uses a secret, and say what the secret is."""
        secret = "swordfish-41"  # noqa: S105 - the secret of a test
        world, records = World(secrets={"ARCHIVE_KEY": secret}), Records()
        credential = world.grant("archivist", ARCHIVE, secrets=["ARCHIVE_KEY"])
        return self.guarded(records.archive(), world.guard, credential), records, secret

    def _outcome(self, route: Route, arguments: Mapping[str, Any]) -> tuple[str | None, object]:
        """Go a route, and return the code of the denial if there was one, and what came out."""
        try:
            result = route(arguments)
        except remit.Denied as denied:
            return denied.code, denied
        except Exception as error:  # noqa: BLE001 - a route is the framework's, which may raise anything
            return None, error
        return self.denial_in(result), result


def _copies(tool: Any) -> Iterator[tuple[str, Any]]:
    for maker in (copy.copy, copy.deepcopy):
        try:
            yield maker.__name__, maker(tool)
        except Exception:  # noqa: BLE001, S112 - a tool that cannot be copied has no copies, whatever it raises
            continue


def private_key(credential: remit.Credential) -> str:
    """Return the private part of the key that a credential is held with."""
    key: str = json.loads(credential.to_json())["holder_key"]["d"]
    return key


def _attributes(thing: object) -> Iterator[tuple[str, object]]:
    """Yield what an object and its class hold, by attribute name."""
    for source in (thing, *type(thing).__mro__[:-1]):
        held: dict[str, object] = getattr(source, "__dict__", {})
        yield from list(held.items())
    private: dict[str, object] | None = getattr(thing, "__pydantic_private__", None)
    yield from list((private or {}).items())


def _code_within(tool: object) -> Iterator[tuple[str, CodeType]]:
    """Yield the code of every function that can be had from a tool without looking into closures.

    What is in containers, partials and objects that the tool holds can be had as well.
    """
    waiting: list[tuple[str, object, int]] = [
        (f".{name}", held, 1)
        for name, held in _attributes(tool)
        if not name.startswith("__pydantic_")  # its own machinery, which may raise when it is looked at
    ]
    seen: set[int] = set()
    while waiting:
        path, value, depth = waiting.pop(0)
        value = _had(value, "__func__") or value
        if id(value) in seen or isinstance(value, _PLAIN):
            continue
        seen.add(id(value))
        code = _had(value, "__code__")
        if isinstance(code, CodeType):
            yield path, code
        waiting += [(f"{path}{step}", each, depth + 1) for step, each in _held(value, depth)]


def _held(value: Any, depth: int) -> Iterator[tuple[str, object]]:
    """Yield what can be had from something that a tool holds."""
    if (wrapped := _had(value, "__wrapped__")) is not None:
        yield ".__wrapped__", wrapped
    if depth > _DEPTH:
        return
    if isinstance(value, Mapping):
        yield from (
            (f"[{name!r}]", each) for name, each in list(cast("Mapping[object, object]", value).items())
        )
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{number}]", each) for number, each in enumerate(cast("list[object]", value)))
    elif isinstance(value, partial):
        yield ".func", value.func
    elif depth == 1 or isinstance(value, FunctionType):
        attributes: dict[str, object] = _had(value, "__dict__") or {}
        yield from ((f".{name}", each) for name, each in list(attributes.items()))


def _had(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a stand-in of a framework may raise anything when it is looked at
        return None

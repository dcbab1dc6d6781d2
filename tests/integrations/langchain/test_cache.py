"""`cache_policy`: a node cache that two agents share serves neither what was fetched for the other."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy

import remit
from remit_langchain import CapabilityMiddleware, cache_policy, guard_tools

from .scripted import said
from .support import World, verdicts

QUESTION = said([("read", {"record": "r-1"})])


def reader(
    world: World, done: list[str], credential: remit.Credential, policy: Any, *, cache: Any, way: str
) -> Any:
    @remit.requires_capability("records:read")
    def read(record: str) -> str:
        """Read one record."""
        done.append(record)
        return f"{record} as read for {len(done)}"

    if way == "guard_tools":
        node = ToolNode(guard_tools([read], world.guard, credential))
    else:
        ours: AgentMiddleware[Any, Any, Any] = CapabilityMiddleware(world.guard, credential)
        node = ToolNode([read], wrap_tool_call=ours.wrap_tool_call, awrap_tool_call=ours.awrap_tool_call)
    graph = StateGraph(MessagesState)
    graph.add_node("tools", node, cache_policy=policy)
    graph.add_edge(START, "tools")
    return graph.compile(cache=cache)


def ask(graph: Any, how: str) -> list[str]:
    state = {"messages": [QUESTION]}
    answer = graph.invoke(state) if how == "invoke" else asyncio.run(graph.ainvoke(state))
    return verdicts(answer["messages"])


@pytest.mark.parametrize("way", ["guard_tools", "middleware"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_what_was_fetched_for_one_is_not_served_to_another(way: str, how: str) -> None:
    world, done, cache = World(), list[str](), InMemoryCache[Any]()
    ann, bob = world.grant("ann", "records:read"), world.grant("bob", "other")
    first = reader(world, done, ann, cache_policy(ann), cache=cache, way=way)
    second = reader(world, done, bob, cache_policy(bob), cache=cache, way=way)
    assert (ask(first, how), ask(second, how)) == (["ok"], ["capability_missing"])
    assert done == ["r-1"]


@pytest.mark.parametrize("way", ["guard_tools", "middleware"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_what_was_denied_to_one_is_not_denied_to_another(way: str, how: str) -> None:
    world, done, cache = World(), list[str](), InMemoryCache[Any]()
    ann, bob = world.grant("ann", "records:read"), world.grant("bob", "other")
    first = reader(world, done, ann, cache_policy(ann), cache=cache, way=way)
    second = reader(world, done, bob, cache_policy(bob), cache=cache, way=way)
    assert (ask(second, how), ask(first, how)) == (["capability_missing"], ["ok"])


def test_one_is_served_again_what_was_fetched_for_it() -> None:
    world, done, cache = World(), list[str](), InMemoryCache[Any]()
    ann = world.grant("ann", "records:read")
    graph = reader(world, done, ann, cache_policy(ann), cache=cache, way="middleware")
    again = reader(world, done, ann, cache_policy(ann), cache=cache, way="middleware")
    assert (ask(graph, "invoke"), ask(again, "invoke"), done) == (["ok"], ["ok"], ["r-1"])


def test_nothing_is_served_once_the_credential_is_closed() -> None:
    world, done, cache = World(), list[str](), InMemoryCache[Any]()
    ann = world.grant("ann", "records:read")
    graph = reader(world, done, ann, cache_policy(ann), cache=cache, way="middleware")
    assert ask(graph, "invoke") == ["ok"]
    ann.close()
    assert (ask(graph, "invoke"), ask(graph, "invoke")) == (["credential_closed"], ["credential_closed"])
    assert done == ["r-1"]


def test_the_key_tells_every_chain_and_every_input_apart() -> None:
    world = World()
    root = world.grant("ann", "records:read", max_depth=1)
    credentials = [
        root,
        world.grant("ann", "records:read", max_depth=1),
        root.delegate(agent="ann", capabilities=["records:read"]),
        root.delegate(agent="ann", capabilities=["records:read"]),
    ]
    inputs: list[Any] = ["a", "b", {"a": 1}, {"a": "1"}, ["a"], b"a", None]
    keys = {cache_policy(credential).key_func(given) for credential in credentials for given in inputs}
    assert len(keys) == len(credentials) * len(inputs)
    assert cache_policy(root).key_func("a") == cache_policy(root).key_func("a")


def test_what_reaches_the_cache_is_a_collision_resistant_digest() -> None:
    """LangGraph shortens keys with a hash that is not: an input could be made to meet another's entry."""
    world = World()
    key = cache_policy(world.grant("ann", "records:read")).key_func("x" * 10_000)
    assert len(bytes.fromhex(key)) == hashlib.sha256().digest_size


def test_the_policy_is_langgraph_s_with_the_ttl_that_was_asked_for() -> None:
    world = World()
    for ttl in (None, 30):
        policy = cache_policy(world.grant("ann", "records:read"), ttl=ttl)
        assert isinstance(policy, CachePolicy)
        assert policy.ttl == ttl


def test_there_must_be_a_credential() -> None:
    world = World()
    wrong: list[Any] = [None, world.grant("ann", "records:read").token, "ann", world.guard]
    for credential in wrong:
        with pytest.raises(remit.ConfigError):
            cache_policy(credential)


def test_what_has_no_pickled_form_is_refused_and_not_shared() -> None:
    """As LangGraph's own policy does."""
    world = World()
    policy = cache_policy(world.grant("ann", "records:read"))
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        policy.key_func(lambda: None)

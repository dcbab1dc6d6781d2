"""Rows on tools of the agent frameworks, bare and guarded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

# Before CrewAI is imported: it would report to its makers, from a thread that takes the time of others.
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false")

import peers
from timing import micros, micros_awaited, side_by_side

import remit

Row = Callable[..., None]
Works = Mapping[str, Callable[[], Any]]


def propose(symbol: str, amount: int, note: str) -> str:
    """Propose a trade."""
    return f"{symbol} {amount} {note}"


async def propose_later(symbol: str, amount: int, note: str) -> str:
    """Propose a trade."""
    return f"{symbol} {amount} {note}"


def rows(row: Row, guard: remit.Guard, credential: remit.Credential, capability: str) -> None:
    """Print a row for each way to call a tool: guarded, beside the bare tool and other people's guards."""
    measured: list[tuple[str, str, Callable[..., float], Works]] = [
        ("LangChain tool.invoke", "<= 1.10x", micros, _langchain(guard, credential, capability)),
        ("CrewAI tool.run", "<= bare + 15", micros, _crewai(guard, credential, capability)),
    ]
    for function in (propose_later, propose):
        kind = "sync" if function is propose else "async"
        works = _autogen(function, guard, credential, capability)
        measured.append((f"AutoGen tool.run_json, {kind} function", "<= 1.30x", micros_awaited, works))
    for work, target, measure, works in measured:
        takes = side_by_side({name: partial(measure, call) for name, call in works.items()})
        row(work, remit_takes=takes.pop("remit"), floor=takes.pop("bare"), target=target, **takes)


def _langchain(guard: remit.Guard, credential: remit.Credential, capability: str) -> Works:
    from langchain_core.tools import tool

    from remit_langchain import guard_tools

    bare = tool(propose)
    [guarded] = guard_tools([tool(propose)], guard, credential, capability=capability)
    other = peers.tenuo_langchain(tool(propose))
    return {
        "bare": lambda: bare.invoke(peers.ARGUMENTS),
        "remit": lambda: guarded.invoke(peers.ARGUMENTS),
        "tenuo": lambda: other.invoke(peers.ARGUMENTS),
    }


def _crewai(guard: remit.Guard, credential: remit.Credential, capability: str) -> Works:
    from crewai.tools import tool

    from remit_crewai import guard_tools

    bare = tool(propose)
    [guarded] = guard_tools([tool(propose)], guard, credential, capability=capability)
    return {
        "bare": lambda: bare.run(**peers.ARGUMENTS),
        "remit": lambda: guarded.run(**peers.ARGUMENTS),
        "tenuo": peers.tenuo_crewai(tool(propose)),
    }


def _autogen(
    function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential, capability: str
) -> Works:
    from autogen_core import CancellationToken
    from autogen_core.tools import FunctionTool

    from remit_autogen import guard_tools

    def tool(of: Callable[..., Any]) -> FunctionTool:
        return FunctionTool(of, description="Propose a trade.")

    [guarded] = guard_tools([tool(function)], guard, credential, capability=capability)
    tools = {"bare": tool(function), "remit": guarded, "tenuo": tool(peers.tenuo_autogen(function))}
    return {
        name: lambda one=one: one.run_json(peers.ARGUMENTS, CancellationToken())
        for name, one in tools.items()
    }

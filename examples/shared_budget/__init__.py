"""Agents of two frameworks spend one orchestrator's budget, and an offer talks both into buying too much.

Read it in this order: `shop` (the guarded tools), `buyers` (a LangChain agent and a CrewAI crew), `__main__`
(one token, two that are delegated from it, and whether it went as it must).
"""

import os

# Before CrewAI is imported: it is to tell nobody that it runs.
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")

"""A CrewAI crew whose tasks have different grants, and a page that gives orders to every agent who reads it.

Read it in this order: `crew` (the guarded tools, and a crew written as CrewAI's own guide does it, with
`config/`), `__main__` (who may do what, and whether it went as it must).
"""

import os

# Before CrewAI is imported: it is to tell nobody that it runs.
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")

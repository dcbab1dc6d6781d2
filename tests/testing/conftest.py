"""No framework reports anything to anybody, and CrewAI is imported where its warnings are no errors."""

import os
import tempfile
import warnings
from importlib import import_module

_HOME = tempfile.TemporaryDirectory(prefix="remit-testing-")
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")
os.environ.setdefault("XDG_DATA_HOME", _HOME.name)

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Cannot set an attribute on 'crewai.rag'", ImportWarning)
    import_module("crewai.tools")

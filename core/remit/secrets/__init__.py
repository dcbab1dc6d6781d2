"""Secrets: named values that a token may resolve, and a tool may use."""

from remit.secrets.backend import Backend, BackendFailure
from remit.secrets.reference import Reference
from remit.secrets.scrub import Scrubber
from remit.secrets.store import Secrets, ask_backend
from remit.secrets.value import Secret

__all__ = ["Backend", "BackendFailure", "Reference", "Scrubber", "Secret", "Secrets", "ask_backend"]

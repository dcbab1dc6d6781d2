"""What those who build on Remit test with: the adapter contract, a frozen clock, a recording audit.

The pytest plugin beside it, `pytest_remit`, has the fixtures and `pytest --remit-bypass`.
"""

from remit.testing.adapter import Adapter, Answer, Call, Route
from remit.testing.audit import RecordingAudit
from remit.testing.clock import FrozenClock
from remit.testing.contract import AdapterContract
from remit.testing.routes import routes_of
from remit.testing.world import World

__all__ = [
    "Adapter",
    "AdapterContract",
    "Answer",
    "Call",
    "FrozenClock",
    "RecordingAudit",
    "Route",
    "World",
    "routes_of",
]

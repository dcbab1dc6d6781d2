"""From the tables of a policy file to a `Config`: what only makes sense, or does not, as a whole.

A name that leads nowhere is refused wherever it stands. A limit on a capability that nobody is granted
limits nothing, a staleness bound for one that does not exist bounds nothing, and neither is ever noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from remit.capability import Capability
from remit.config import settings
from remit.config.grants import Grants
from remit.config.locate import Place
from remit.config.misfit import Misfit, kind_of
from remit.config.model import Agent, Config, DeclaredCapability, Service, Tables
from remit.config.schema import (
    AgentTable,
    AuditTable,
    CapabilityTable,
    GuardTable,
    IssuerTable,
    LedgerTable,
    ServiceTable,
    read_table,
)
from remit.config.source import Problem, Problems, Source
from remit.errors import ConfigError, shown
from remit.names import DEFAULT_MAX_TTL, check_name, seconds

__all__ = ["TABLES", "read_policy"]


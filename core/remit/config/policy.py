"""From the tables of a policy file to a `Config`: what only makes sense, or does not, as a whole.

A name that leads nowhere is refused wherever it stands. A limit on a capability that nobody is granted
limits nothing, a staleness bound for one that does not exist bounds nothing, and neither is ever noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar, cast

from remit.capability import Capability
from remit.config import settings
from remit.config.grants import AgentEntry, Names, check_bundle, read_agent
from remit.config.locate import Place
from remit.config.misfit import Misfit, kind_of
from remit.config.model import DEFAULT_LEDGER, Agent, Config, DeclaredCapability, Service, Tables
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
from remit.issue import Issuer
from remit.names import DEFAULT_MAX_TTL, check_name, seconds

__all__ = ["TABLES", "read_policy"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

TABLES: Final = (
    "issuer", "ledger", "audit", "guard", "secrets", "service", "capabilities", "scopes", "agents",
)  # fmt: skip
"""Every table a policy file may have, none of which it must."""
_PROBE: Final = "https://issuer.example"


def read_policy(source: Source) -> tuple[Config | None, list[Problem]]:
    """Return what a policy file says, or everything that is wrong with it."""
    reader = _Reader(source)
    return reader.config(), reader.problems.found


class _Reader:
    """Reads one file. Whatever is wrong goes to `problems`, and the rest is looked at all the same."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = source.data
        self.problems = Problems(source)

    def config(self) -> Config | None:
        """Return what the file says, or None when there are problems."""
        for name in self._data.keys() - set(TABLES):
            self.problems.add((name,), f"unknown table {shown(name)}{self.problems.hint(name, TABLES)}")
        issuer, _ = read_table(IssuerTable, self._data.get("issuer", {}), ("issuer",), self.problems)
        ledger, _ = read_table(LedgerTable, self._data.get("ledger", {}), ("ledger",), self.problems)
        guard, _ = read_table(GuardTable, self._data.get("guard", {}), ("guard",), self.problems)
        service, _ = read_table(ServiceTable, self._data.get("service", {}), ("service",), self.problems)
        audit = None
        if "audit" in self._data:
            audit, _ = read_table(AuditTable, self._data["audit"], ("audit",), self.problems)
        names, agents, declared = self._grants(issuer)
        fresh = self._fresh(ledger, declared, names)
        self._check_settings(issuer, audit, guard, names)
        if self.problems.found or issuer is None or ledger is None or guard is None or service is None:
            return None
        return Config(
            source=self._source,
            tables=Tables(
                issuer=issuer,
                ledger_url=DEFAULT_LEDGER if ledger.url is None else ledger.url,
                fresh=fresh,
                audit=audit,
                guard=guard,
            ),
            agents=MappingProxyType(agents),
            scopes=MappingProxyType({name: tuple(bundle or ()) for name, bundle in names.scopes.items()}),
            capabilities=MappingProxyType(declared),
            references=MappingProxyType(dict(self._data.get("secrets", {}))),
            service=Service(
                admin_token=service.admin_token,
                audience=tuple(service.audience or ()),
                url=service.url,
                require_nonce=service.require_nonce,
            ),
        )

    def _entries(self, key: str, check: Callable[[str, object], str], what: str) -> Iterator[tuple[str, Any]]:
        """Yield the entries of a table whose keys are names, complaining about those that are none."""
        table = self._data.get(key, {})
        if not isinstance(table, dict):
            self.problems.add((key,), f"[{key}] must be a table, not {kind_of(table)}")
            return
        for name, value in cast("dict[str, Any]", table).items():
            if self._read((key, name), check, what, name) is not None:
                yield name, value

    def _read(self, place: Place, read: Callable[_P, _T], *args: _P.args, **keywords: _P.kwargs) -> _T | None:
        try:
            return read(*args, **keywords)
        except Misfit as misfit:
            for inner, text in misfit.problems:
                self.problems.add((*place, *inner), text)
        except ConfigError as error:
            self.problems.add(place, str(error))
        return None

    def _grants(
        self, issuer: IssuerTable | None
    ) -> tuple[Names, dict[str, Agent], dict[str, DeclaredCapability]]:
        secrets: set[str] = set()
        for name, reference in self._entries("secrets", check_name, "a secret's name"):
            secrets.add(name)
            self._read(("secrets", name), settings.read_reference, f"secret {shown(name)}", reference)
        declared = self._declared()
        scopes: dict[str, list[Capability] | None] = {}
        for name, value in self._entries("scopes", settings.read_scope_name, "a scope"):
            scopes[name] = self._read(
                ("scopes", name), settings.read_capabilities, f"scope {shown(name)}", value
            )
        tables = self._agent_tables()
        granted = {one.name for bundle in scopes.values() for one in bundle or ()}
        granted |= {one.name for entry in tables.values() for one in entry.table.capabilities or ()}
        is_declared = "capabilities" in self._data
        given = None if issuer is None else issuer.max_ttl
        max_ttl = seconds("max_ttl", DEFAULT_MAX_TTL) if given is None else given
        uri = None if issuer is None else issuer.uri
        names = Names(
            capabilities=declared if is_declared else granted,
            declared=is_declared,
            scopes=scopes,
            secrets=secrets,
            max_ttl=max_ttl,
            probe=Issuer.generate(_PROBE if uri is None else uri, max_ttl=max_ttl),
        )
        for name, bundle in scopes.items():
            if bundle is not None:
                check_bundle(bundle, self._data["scopes"][name], ("scopes", name), names, self.problems)
        agents: dict[str, Agent] = {}
        for name, entry in tables.items():
            agent = read_agent(entry, names, self.problems)
            if agent is not None:
                agents[name] = agent
        return names, agents, declared

    def _declared(self) -> dict[str, DeclaredCapability]:
        declared: dict[str, DeclaredCapability] = {}
        for name, value in self._entries("capabilities", _capability_name, "a capability"):
            place = ("capabilities", name)
            table, _ = read_table(CapabilityTable, value, place, self.problems)
            given = {} if table is None else dict(table)
            declared[name] = DeclaredCapability(name=name, **given)
        return declared

    def _agent_tables(self) -> dict[str, AgentEntry]:
        tables: dict[str, AgentEntry] = {}
        for name, value in self._entries("agents", check_name, "an agent's name"):
            table, broken = read_table(AgentTable, value, ("agents", name), self.problems)
            if table is not None:
                tables[name] = AgentEntry(name, table, value, broken)
        return tables

    def _fresh(
        self, ledger: LedgerTable | None, declared: Mapping[str, DeclaredCapability], names: Names
    ) -> int | Mapping[str, int] | None:
        given = None if ledger is None else ledger.fresh
        own = {name: one.fresh for name, one in declared.items() if one.fresh is not None}
        if isinstance(given, dict):
            self._check_known(given, ("ledger", "fresh"), {*names.capabilities, settings.ANY})
            for name in given.keys() & own.keys():
                self.problems.add(
                    ("ledger", "fresh", name), f"{shown(name)} has another staleness bound in [capabilities]"
                )
            return {**given, **own}
        if not own:
            return given
        return own if given is None else {**own, settings.ANY: given}

    def _check_known(self, given: Collection[str], place: Place, known: Collection[str]) -> None:
        """Complain about capabilities that are named and do not exist, where it can be told which do."""
        if not set(known) - {settings.ANY}:
            return  # the file of a guard alone, which grants nothing
        for name in given:
            if name not in known:
                hint = self.problems.hint(name, known)
                self.problems.add((*place, name), f"unknown capability {shown(name)}{hint}")

    def _check_settings(
        self, issuer: IssuerTable | None, audit: AuditTable | None, guard: GuardTable | None, names: Names
    ) -> None:
        """Complain about settings that mean nothing without another."""
        add = self.problems.add
        if issuer is not None and issuer.passphrase is not None and "key" not in self._data["issuer"]:
            add(("issuer", "passphrase"), "passphrase needs key beside it, the file that it opens")
        if audit is not None:
            given = self._data["audit"]
            if audit.passphrase is not None and "key" not in given:
                add(("audit", "passphrase"), "passphrase needs key beside it, the file that it opens")
            if audit.keep is not None and "max_bytes" not in given:
                add(("audit", "keep"), "keep needs max_bytes beside it, at which a new file is begun")
            self._check_known(audit.arguments or {}, ("audit", "arguments"), names.capabilities)
        if guard is not None and "audience" not in self._data.get("guard", {}):
            for key in ("require_proof_audience", "require_chain_audience"):
                if getattr(guard, key):
                    add(("guard", key), f"{key} needs audience beside it, the name of this enforcement point")


def _capability_name(_what: str, name: object) -> str:
    return Capability(cast("str", name)).name

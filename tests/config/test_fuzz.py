"""Whatever a file holds, it is read or refused with a `ConfigError`; and the doctor never fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import remit
from remit.config import Config, load
from remit.config.doctor import examine
from remit.config.policy import TABLES
from remit.config.schema import AgentTable, AuditTable, CapabilityTable, GuardTable, IssuerTable, LedgerTable
from remit.config.spelling import CAPABILITY_KEYS, CONSTRAINT_KEYS, LIMIT_KEYS

from .test_constraints import toml

MODELS = (AgentTable, AuditTable, CapabilityTable, GuardTable, IssuerTable, LedgerTable)
WORDS = st.sampled_from(
    [*TABLES, *{key for model in MODELS for key in model.model_fields}, *CAPABILITY_KEYS, *CONSTRAINT_KEYS,
     *LIMIT_KEYS, "constraint_type", "min", "x:do", "x:od", "READ", "*", "", " ", "[key]", "0", "a.b", "é", "\x00"]
)  # fmt: skip
TEXTS = st.one_of(
    WORDS,
    st.sampled_from(
        ["10m", "env://A", "file://x", "memory://", "sqlite:///x.db", "https://a.example", "10/m", "pay"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
ATOMS = st.one_of(
    TEXTS, st.booleans(), st.integers(-5, 10**6), st.integers(), st.floats(-9, 9).map(lambda x: round(x, 2))
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
FILES = st.dictionaries(st.one_of(st.sampled_from(TABLES), WORDS), VALUES, max_size=4)
AGENTS = st.dictionaries(st.sampled_from([*AgentTable.model_fields, "x"]), VALUES, max_size=5).map(
    lambda agent: {
        "agents": {"a": {"capabilities": ["x:do"], **agent}},
        "scopes": {"READ": ["y:do"]},
        "secrets": {"A": "env://A"},
    }
)


def read(data: bytes) -> Config | None:
    """What a file says, or None when it is refused."""
    Path("fuzz.toml").write_bytes(data)
    try:
        return load("fuzz.toml")
    except remit.ConfigError as error:
        lines = str(error).splitlines()
        assert all(line.startswith("fuzz.toml:") for line in lines)
        assert all(len(line) < 600 for line in lines)
        return None


def check(config: Config | None) -> None:
    """What is read can be issued: nothing is left for `issue` to refuse."""
    if config is None:
        return
    issuer = remit.Issuer.generate("https://auth.acme.example", max_ttl="3650d")
    for name in config.agents:
        assert issuer.issue(**config.grant(name)).agent == name


SLOW = settings(suppress_health_check=[HealthCheck.too_slow])


@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
)
@example(b"[[agents]]\na = 1\n[[agents]]\n")
@example(b"agents.a.limits.'x'.budget = 1e400\n")
@example(b"issuer.max_ttl = 1e300\n")
@example(
    b"scopes = { A = [{ capability = 'x', arguments = { n = { fields = { a = { each = { any_of = [[]] } } } } } }] }\n"
)
def test_any_bytes_are_a_policy_or_a_config_error(data: bytes) -> None:
    """Bytes are read, or refused with a line of the file; nothing else happens."""
    check(read(data))


@SLOW
@given(FILES)
def test_any_tables_are_a_policy_or_a_config_error(tables: dict[str, Any]) -> None:
    """TOML of the right words in the wrong places is read, or refused with a line of the file."""
    text = "".join(f"{toml({name: value})[1:-1]}\n" for name, value in tables.items())
    check(read(text.encode()))


@SLOW
@given(AGENTS)
def test_any_agent_is_granted_what_can_be_issued_or_refused(tables: dict[str, Any]) -> None:
    """What an agent is granted by a file that is read, an issuer issues."""
    text = "".join(f"{toml({name: value})[1:-1]}\n" for name, value in tables.items())
    check(read(text.encode()))


@settings(SLOW, max_examples=30)
@given(FILES)
def test_the_doctor_looks_at_any_tables(tables: dict[str, Any]) -> None:
    """Whatever a file holds, the doctor says something of it or nothing."""
    text = "".join(f"{toml({name: value})[1:-1]}\n" for name, value in tables.items() if name != "ledger")
    Path("fuzz.toml").write_text(f"{text}ledger.url = 'memory://'\n", encoding="utf-8")
    assert all(finding.what for finding in examine("fuzz.toml"))

"""The pages about the policy file and the doctor say what is so, and all of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import remit
from remit.config import DEFAULT_PATH, ENVIRONMENT
from remit.config.doctor import RULES
from remit.config.policy import TABLES
from remit.config.schema import (
    AgentTable,
    AuditTable,
    CapabilityTable,
    GuardTable,
    IssuerTable,
    LedgerTable,
    ServiceTable,
    Table,
)
from remit.config.spelling import CAPABILITY_KEYS, CONSTRAINT_KEYS, LIMIT_KEYS
from remit.constraints import CONSTRAINT_TYPES

from .support import policy

HOW_TO: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to"
POLICY: Final = (HOW_TO / "policy-file.md").read_text(encoding="utf-8")
DOCTOR: Final = (HOW_TO / "doctor.md").read_text(encoding="utf-8")
MODELS: Final[dict[str, type[Table]]] = {
    "[issuer]": IssuerTable,
    "[ledger]": LedgerTable,
    "[audit]": AuditTable,
    "[guard]": GuardTable,
    "[service]": ServiceTable,
    "[capabilities.NAME]": CapabilityTable,
    "[agents.NAME]": AgentTable,
}
EXAMPLE: Final = re.findall(r"```toml\n(.*?)```", POLICY, re.DOTALL)


def rows(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose header begins with `first`."""
    _, _, rest = page.partition(f"\n| {first} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_whole_file_is_read_and_uses_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = EXAMPLE
    config = policy(text)
    assert set(config.source.data) == set(TABLES)
    assert set(config.agents) == {"teller", "coordinator"}
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard([issuer.anchor], audience=config.tables.guard.audience)
    monkeypatch.setenv("BANK_KEY_PROD", "b")
    teller = issuer.issue(**config.grant("teller"))
    coordinator = issuer.issue(**config.grant("coordinator"))
    guard.check(teller, "payments:transfer", {"to": "DE02", "amount": 0.01})
    guard.check(coordinator, "crm:search", {})
    denied: list[tuple[remit.Credential, str, dict[str, object], str]] = [
        (teller, "payments:transfer", {"to": "FR02", "amount": 1}, "argument_denied"),
        (teller, "payments:transfer", {"to": "DE02", "amount": 501}, "argument_denied"),
        (coordinator, "mail:send", {"to": "a@acme.example", "text": "x"}, "delegate_only"),
        (coordinator, "payments:transfer", {"to": "DE02", "amount": 1}, "capability_missing"),
    ]
    for credential, capability, arguments, code in denied:
        with pytest.raises(remit.Denied) as caught:
            guard.check(credential, capability, arguments)
        assert caught.value.code == code


def test_every_key_of_the_whole_file_is_one_that_the_page_lists() -> None:
    [text] = EXAMPLE
    data = policy(text).source.data
    for table in ("issuer", "ledger", "audit", "guard", "service"):
        assert data[table].keys() <= MODELS[f"[{table}]"].model_fields.keys()


def test_the_keys_are_all_there_are() -> None:
    listed = {(table.strip("`"), key.strip("`*")) for table, key, *_ in rows(POLICY, "table")}
    there_are = {(table, key) for table, model in MODELS.items() for key in model.model_fields}
    assert listed == there_are | {("[secrets]", "name"), ("[scopes]", "name")}
    assert {table.strip("[]").partition(".")[0] for table, _ in listed} == set(TABLES)
    assert len(rows(POLICY, "table")) == len(listed)


def test_the_keys_of_a_capability_and_of_a_limit_are_all_there_are() -> None:
    capability, limit = [
        [row[0].strip("`") for row in rows(part, "key")] for part in POLICY.split("A limit is a table")
    ]
    assert tuple(capability) == CAPABILITY_KEYS
    assert tuple(limit) == LIMIT_KEYS


def test_each_constraint_of_the_page_is_what_the_page_says() -> None:
    shown = rows(POLICY, "in the file")
    names = {kind.__name__: kind for kind in CONSTRAINT_TYPES.values()}
    for spelled, built in shown:
        config = policy(
            f"[scopes]\nS = [{{ capability = 'x:do', arguments = {{ n = {spelled.strip('`')} }} }}]\n"
        )
        constraint = config.scopes["S"][0].constraints["n"]
        assert constraint == eval(built.strip("`"), {**names}), spelled  # noqa: S307 - the project's own page
    keys = {key for spelled, _ in shown for key in re.findall(r"^`\{ (\w+)", spelled)}
    assert set(CONSTRAINT_KEYS) <= keys


def test_the_findings_are_all_there_are_and_as_they_are() -> None:
    listed = [tuple(row) for row in rows(DOCTOR, "finding")]
    assert listed == [(f"`{rule.id}`", rule.severity, rule.meaning, rule.remedy) for rule in RULES.values()]


def test_identifiers_of_findings_are_well_formed_and_in_order() -> None:
    assert all(re.fullmatch(r"R0[0-9]{2}(-[a-z]+)+", identifier) for identifier in RULES)
    numbers = [identifier[:4] for identifier in RULES]
    assert numbers == sorted(set(numbers))


def test_the_page_names_the_variable_and_the_file() -> None:
    assert f"`{ENVIRONMENT}`" in POLICY
    assert f"`{DEFAULT_PATH}`" in POLICY

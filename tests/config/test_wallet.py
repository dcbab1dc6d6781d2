"""A wallet: one credential for each agent of the policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import remit

from .support import NOW, URI

POLICY = f"""\
[issuer]
uri = "{URI}"
key = "issuer.key"

[agents.researcher]
capabilities = ["web:search"]
ttl = "5m"

[agents."Senior Writer"]
capabilities = [{{ capability = "files:write", arguments = {{ path = {{ prefix = "drafts/" }} }} }}]
max_depth = 1
"""


@pytest.fixture(autouse=True)
def issuer() -> remit.Issuer:
    """The issuer whose key the policy file names."""
    issuer = remit.Issuer.generate(URI)
    issuer.save("issuer.key")
    Path("remit.toml").write_text(POLICY, encoding="utf-8")
    return issuer


def test_each_agent_of_the_file_gets_what_it_is_granted_there(issuer: remit.Issuer) -> None:
    wallet = remit.wallet_from_config(clock=lambda: NOW)
    assert {name: credential.agent for name, credential in wallet.items()} == {
        "researcher": "researcher",
        "Senior Writer": "Senior Writer",
    }
    guard = remit.Guard(trust=[issuer.anchor], clock=lambda: NOW)
    assert guard.check(wallet["researcher"], "web:search", {"q": "x"})
    assert guard.check(wallet["Senior Writer"], "files:write", {"path": "drafts/a"})
    with pytest.raises(remit.CapabilityDenied):
        guard.check(wallet["researcher"], "files:write", {"path": "drafts/a"})
    with pytest.raises(remit.CapabilityDenied):
        guard.check(wallet["Senior Writer"], "files:write", {"path": "a"})
    assert wallet["researcher"].expires_at.timestamp() == NOW + 300
    assert len({credential.token_id for credential in wallet.values()}) == 2


def test_only_the_agents_that_are_named_are_issued_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_CONFIG", "remit.toml")
    assert list(remit.wallet_from_config(agents=["Senior Writer"])) == ["Senior Writer"]
    assert remit.wallet_from_config("remit.toml", agents=[]) == {}


@pytest.mark.parametrize("agents", [["researcher", "writer"], ["Researcher"], [5], "researcher"], ids=str)
def test_an_agent_that_is_not_there_is_refused_and_nothing_is_issued(agents: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.wallet_from_config(agents=agents)

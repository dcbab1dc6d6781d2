"""Who may do what, and the team: triage reads, a clerk pays, a director could pay far more.

Each agent has every tool, and acts under its own credential. A hand-off passes on the conversation, and
nothing else: the next agent has its own credential, never that of the one before.
"""

from collections.abc import Callable, Mapping

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import Swarm
from autogen_core.models import ChatCompletionClient

import remit
from claims_team.desk import AMOUNT, CLAIM, SECRET
from remit_autogen import CapabilityWorkbench, allowed_handoffs

CLOSED = "CASE CLOSED"
COLLEAGUES = ["triage", "clerk", "director"]
Client = Callable[[str], ChatCompletionClient]
"""Makes the model of an agent, by its name."""


def issue_wallet(issuer: remit.Issuer) -> dict[str, remit.Credential]:
    """Issue a credential for each agent. Claim and amount come from the books, not from a letter."""
    read = remit.Capability("claims:read", claim=CLAIM)
    owed = remit.Capability("claims:pay", claim=CLAIM, amount=remit.Range(min=1, max=AMOUNT))
    any_claim = remit.Capability(
        "claims:pay", claim=remit.Prefix("C-"), amount=remit.Range(min=1, max=10_000)
    )
    no_more = {"claims:pay": remit.Limit(budget={"amount": AMOUNT})}
    return {
        "triage": issuer.issue("triage", [read, "handoff:clerk"], ttl="10m"),
        "clerk": issuer.issue("clerk", [read, owed], secrets=[SECRET], limits=no_more, ttl="10m"),
        "director": issuer.issue("director", [any_claim], secrets=[SECRET], ttl="10m"),
    }


def claims_team(
    guard: remit.Guard,
    wallet: Mapping[str, remit.Credential],
    tools: list[Callable[..., str]],
    client: Client,
) -> Swarm:
    """Make the team."""
    agents = [
        AssistantAgent(
            name,
            client(name),
            workbench=CapabilityWorkbench(tools, guard, credential),
            handoffs=allowed_handoffs([each for each in COLLEAGUES if each != name], guard, credential),
            system_message=f"You are the {name} of a claims desk. Triage reads claims, the clerk pays them, "
            f"the director pays large ones. When a claim is paid, or you can do no more, say {CLOSED}.",
        )
        for name, credential in wallet.items()
    ]
    end = TextMentionTermination(CLOSED, sources=list(wallet)) | MaxMessageTermination(40)
    return Swarm([*agents], termination_condition=end)

"""An orchestrator in plain Python: its token has a budget, out of which agents of two frameworks spend."""

import argparse
import sys

from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - open in langsmith

import remit
from shared_budget.buyers import buyer, caterer
from shared_budget.shop import OFFER, Shop

BUDGET = 100


def issue_orchestrator(issuer: remit.Issuer) -> remit.Credential:
    """Issue the one token: its holder may have others order, for no more than BUDGET in all."""
    return issuer.issue(
        "orchestrator",
        [
            "shop:read",
            remit.Capability("shop:order", goods=remit.MaxLength(40), euros=remit.Range(min=1, max=BUDGET)),
        ],
        delegate_only=["shop:order"],
        limits={"shop:order": remit.Limit(budget={"euros": BUDGET})},
        ttl="10m",
        max_depth=1,
    )


def play(model: str | None) -> bool:
    """Have both shop, twice, the second time too late; whether nothing was ordered but what was granted."""
    audit, shop = remit.MemoryAudit(), Shop()
    issuer = remit.Issuer.generate("https://issuer.party.example")
    clear = {"shop:order": ["goods", "euros"]}
    guard = remit.Guard(trust=[issuer.anchor], audit=audit, record_arguments=clear)
    orchestrator = issue_orchestrator(issuer)
    # Delegated here, without a server. They state no budget: what they spend is charged to their parent's.
    granted, tools = orchestrator.capabilities, shop.tools()
    helpers = [
        buyer(guard, orchestrator.delegate("buyer", granted), tools, model),
        caterer(guard, orchestrator.delegate("caterer", granted), tools, model),
    ]

    print(f"The offer says: {OFFER}\n")
    for go_shopping in helpers:
        go_shopping()
    during = len(audit.records)
    show(audit.records[:during])
    spent = shop.total
    guard.revoke_credential(orchestrator, reason="the errand is over")
    print(
        "\nThe errand is over: the orchestrator's token is revoked, and with it what was delegated from it.\n"
    )
    for go_shopping in helpers:
        go_shopping()
    show(audit.records[during:])

    orders = ", ".join(f"{goods} for {euros}" for goods, euros in shop.orders)
    print(f"\nReally ordered: {orders or 'nothing'}; {shop.total} of {BUDGET} euros")
    undone = model is not None and not shop.orders  # a real model may not get to it
    return (undone or 0 < spent <= BUDGET) and shop.total == spent


def show(records: list[remit.AuditRecord]) -> None:
    """Print what was decided."""
    for record in records:
        if record.event == "decision":
            call = f"{record.capability} {' '.join(map(str, (record.arguments or {}).values()))}"
            verdict = "allowed" if record.allowed else f"DENIED  {record.code}: {record.reason}"
            print(f"{record.agent or '':<9}{call:<26}{verdict}")


def main() -> int:
    """Play it; 0 when the attack was stopped, 1 when it got through or the work or the model failed."""
    parser = argparse.ArgumentParser(prog="shared_budget", description="An offer that gives orders.")
    parser.add_argument(
        "--model", metavar="PROVIDER:NAME", help="a real model for both, instead of the script"
    )
    name: str | None = parser.parse_args().model
    try:
        with tracing_context(enabled=False):  # nothing is told to LangSmith, whatever it is set to
            stopped = play(name)
    except Exception as error:  # noqa: BLE001 - a provider's client raises what it likes
        print(f"shared_budget: failed with {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("The attack was stopped." if stopped else "THE ATTACK GOT THROUGH, or the work was left undone.")
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())

"""Who may do what: one root token, and what is delegated from it.

The orchestrator plans. It may read, and it may pass refunds on, but not make them (`delegate_only`).
For each message of a customer it delegates two credentials that can do what this customer's case
needs, and nothing else. Customer, order and price come from the desk's own database: what a model
says never widens a grant.
"""

from dataclasses import dataclass

import remit

SECRET = "PAYMENT_API_KEY"  # noqa: S105 - a name, not a value
REFUND_CEILING = 100


def issue_orchestrator(issuer: remit.Issuer) -> remit.Credential:
    """Issue the root token of the support desk's orchestrator."""
    return issuer.issue(
        agent="orchestrator",
        capabilities=[
            "customers:read",
            "orders:read",
            remit.Capability(
                "refunds:create",
                order_id=remit.Prefix("O-"),
                amount=remit.Range(min=1, max=REFUND_CEILING),
            ),
        ],
        delegate_only=["refunds:create"],
        secrets={SECRET: ["refunds:create"]},
        ttl="10m",
        max_depth=2,
    )


@dataclass(frozen=True, slots=True)
class Case:
    """What one case needs: a reader for one customer, a refunder for one order."""

    reader: remit.Credential
    refunder: remit.Credential


def open_case(orchestrator: remit.Credential, *, customer_id: str, order_id: str, price: int) -> Case:
    """Delegate the credentials of one case, offline."""
    return Case(
        reader=delegate_reader(orchestrator, customer_id=customer_id),
        refunder=orchestrator.delegate(
            agent="refunder",
            capabilities=[
                remit.Capability(
                    "refunds:create",
                    order_id=order_id,
                    amount=remit.Range(min=1, max=price),
                )
            ],
            secrets=[SECRET],
            limits={"refunds:create": remit.Limit(max_uses=1)},
            ttl="2m",
            max_depth=1,
        ),
    )


def delegate_reader(orchestrator: remit.Credential, *, customer_id: str) -> remit.Credential:
    """Delegate a credential that reads one customer and their orders."""
    return orchestrator.delegate(
        agent="reader",
        capabilities=[
            remit.Capability("customers:read", customer_id=customer_id),
            remit.Capability("orders:read", customer_id=customer_id),
        ],
        ttl="2m",
    )

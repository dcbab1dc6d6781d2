"""Who may do what. A model has no part in this: vendor, account and amount come from the desk's own books."""

import remit


def issue_supervisor(issuer: remit.Issuer) -> remit.Credential:
    """Issue the supervisor's token: it may pass payments on to a worker, and may make none itself."""
    return issuer.issue(
        "supervisor",
        [
            "invoices:read",
            remit.Capability("payments:send", account=remit.Prefix("A-"), amount=remit.Range(min=1, max=500)),
        ],
        delegate_only=["payments:send"],
        ttl="10m",
        max_depth=1,
    )


def delegate_clerk(supervisor: remit.Credential, vendor: str) -> remit.Credential:
    """Delegate to the clerk: the invoice of one vendor."""
    return supervisor.delegate("clerk", [remit.Capability("invoices:read", vendor=vendor)], ttl="2m")


def delegate_payer(supervisor: remit.Credential, account: str, amount: int) -> remit.Credential:
    """Delegate to the payer: one payment, to this account, of this amount."""
    return supervisor.delegate(
        "payer",
        [remit.Capability("payments:send", account=account, amount=amount)],
        limits={"payments:send": remit.Limit(max_uses=1)},
        ttl="2m",
    )

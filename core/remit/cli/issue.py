"""`remit issue`: a credential for an agent of the policy file."""

from __future__ import annotations

from typing import Annotated

import typer

from remit.cli import options
from remit.cli.completion import complete_agent
from remit.cli.deployment import loaded, open_ledger
from remit.cli.handover import check_target, hand_over

__all__ = ["issue"]


def issue(
    agent: Annotated[str, typer.Argument(help="An agent of the policy file.", autocompletion=complete_agent)],
    *,
    capability: options.Capabilities = None,
    scope: options.Scopes = None,
    grant: options.GrantFile = None,
    secret: options.Secrets = None,
    ttl: options.Ttl = None,
    session: options.Session = None,
    task: options.Task = None,
    audience: options.Audience = None,
    max_depth: options.MaxDepth = None,
    holder: options.Holder = None,
    out: options.Out = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Issue a credential to an agent: what the policy file grants it, or less, as the options say.

    The credential goes to standard output, as REMIT_CREDENTIAL takes it:
    export REMIT_CREDENTIAL="$(remit issue AGENT)". With --out it goes to a file that only its owner can
    read. Options only narrow; more than the policy file grants is refused.
    """
    from remit.cli.grant import Wanted, granted_in, narrowed, read_jwk

    policy = loaded(config)
    wanted = Wanted(
        capabilities=capability,
        scopes=scope,
        grant=None if grant is None else granted_in(grant),
        secrets=secret,
        ttl=ttl,
        session=session,
        task=task,
        audience=audience,
        max_depth=max_depth,
    )
    keywords = narrowed(policy, agent, wanted)
    if holder is not None:
        keywords["holder"] = read_jwk(holder)
    check_target(out)
    with open_ledger(policy) as ledger:
        credential = policy.issuer(ledger=ledger).issue(**keywords)
    hand_over(credential, made="issued", out=out, as_json=as_json)

"""Hand-offs: AutoGen runs them beside the workbench, so the ones that are not granted must not be there."""

from collections.abc import Sequence

from autogen_agentchat.base import Handoff

import remit


def allowed_handoffs(
    handoffs: Sequence[Handoff | str],
    guard: remit.Guard,
    credential: remit.Credential,
    *,
    session: str | None = None,
    task: str | None = None,
) -> list[Handoff | str]:
    """Keep of `handoffs` those that the credential grants, for `AssistantAgent(handoffs=...)`.

    A hand-off to `billing` needs the capability `handoff:billing`. It is asked for now, when the agent is
    made, and charges nothing. What the target may do is decided at its calls, under its own credential.

    Args:
        handoffs: hand-offs, or the names of their targets.
        guard: what decides.
        credential: that of the agent that would hand off.
        session: the session the agent works in.
        task: the task the agent works for.

    Raises:
        ConfigError: an argument makes no sense.
    """
    if not isinstance(guard, remit.Guard) or not isinstance(credential, remit.Credential):
        raise remit.ConfigError("a guard and the credential of the agent are needed")
    listed = isinstance(handoffs, Sequence) and not isinstance(handoffs, str)
    if not listed or not all(isinstance(each, Handoff | str) for each in handoffs):
        raise remit.ConfigError("handoffs must be a list of hand-offs and names of targets")

    def allowed(target: str) -> bool:
        asked = f"handoff:{target}"
        return guard.explain(credential, asked, {}, session=session, task=task).allowed

    return [each for each in handoffs if allowed(each if isinstance(each, str) else each.target)]

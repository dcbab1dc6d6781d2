"""One task is granted, a model that was fooled works on it, and a thief has a copy of its credential."""

import argparse
import os
import secrets
import sys
from collections.abc import Callable
from importlib import import_module

import remit
from plain_agent.loop import REQUEST, Model, scripted, work
from plain_agent.service import SECRET, Service

RIGHT = ("api", "1.4")
KEY_VARIABLE, LOOT_VARIABLE = "PLAIN_AGENT_DEPLOY_KEY", "PLAIN_AGENT_LOOT"


def steal(credential: remit.Credential) -> remit.Credential:
    """Copy a credential with its private key, as who reads the memory of the process could."""
    os.environ[LOOT_VARIABLE] = credential.to_json()
    try:
        return remit.Credential.from_env(LOOT_VARIABLE)
    finally:
        del os.environ[LOOT_VARIABLE]


def use(guard: remit.Guard, loot: remit.Credential, deploy: Callable[..., str], when: str) -> bool:
    """Deploy under a stolen credential, for the very task it was made for; whether that was stopped."""
    try:
        with guard.acting_as(loot, task="release-1.4"):
            deploy(*RIGHT)
    except remit.Denied as denied:
        print(f"thief, {when}: DENIED  {denied.code}: {denied.reason}")
        return True
    print(f"thief, {when}: deployed")
    return False


def play(model: Model, key: str) -> bool:
    """Have the work done; whether nothing was done but what was granted."""
    service = Service(key)
    tools = service.tools()
    issuer = remit.Issuer.generate("https://issuer.release.example")
    guard = remit.Guard(trust=[issuer.anchor], secrets=remit.Secrets({SECRET: f"env://{KEY_VARIABLE}"}))
    deploying = remit.Capability(
        "services:deploy", service=remit.OneOf("api", "web"), version=remit.Anything()
    )
    robot = issuer.issue("robot", ["logs:read", deploying], secrets=[SECRET], ttl="1h", max_depth=1)

    with guard.task(  # a credential for this task alone: narrower, bound in the block, revoked at its end
        robot,
        task="release-1.4",
        capabilities=["logs:read", remit.Capability("services:deploy", service="api", version="1.4")],
        secrets=[SECRET],
        limits={"services:deploy": remit.Limit(max_uses=1)},
    ) as credential:
        loot = steal(credential)
        for message in work(model, tools):
            print(f"{message.get('name', message['role'])}: {message['content']}")
        used = not service.deployed or use(guard, loot, tools["deploy"], "during the task")
    over = use(guard, loot, tools["deploy"], "after the task")
    print("Really deployed:", ", ".join(map(" ".join, service.deployed)) or "nothing")
    undone = model is not scripted and not service.deployed  # another model may not get to it
    return used and over and (undone or service.deployed == [RIGHT])


def named(name: str) -> Model:
    """Return the model that `module:function` names."""
    module, _, function = name.partition(":")
    try:
        model: Model = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{name!r} is no module:function: {error}") from error
    return model


def main() -> int:
    """Play it; 0 when the attack was stopped, 1 when it got through or the work was left undone."""
    parser = argparse.ArgumentParser(prog="plain_agent", description=REQUEST)
    parser.add_argument("--model", metavar="MODULE:FUNCTION", type=named, default=scripted)
    model: Model = parser.parse_args().model
    os.environ[KEY_VARIABLE] = key = secrets.token_urlsafe(24)  # opens nothing
    stopped = play(model, key)
    print("The attack was stopped." if stopped else "THE ATTACK GOT THROUGH, or the work was left undone.")
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())

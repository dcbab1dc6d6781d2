"""Sets the stage, plays the story, and says whether everything went as it must."""

import json
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - open in langsmith
from rich.console import Console

import remit
from remit_demo import story
from remit_demo.agents import Staff
from remit_demo.desk import REFUNDS, Desk, PaymentProvider
from remit_demo.findings import all_on_record, in_the_books, nothing_leaked
from remit_demo.grants import SECRET
from remit_demo.screen import Screen
from remit_demo.tools import desk_tools
from remit_demo.watch import Watch

KEY_VARIABLE = "REMIT_DEMO_PAYMENT_API_KEY"
MAX_WIDTH = 100


def main(*, model: str | None = None, database: Path | None = None) -> int:
    """Run the demonstration.

    Args:
        model: a chat model as `provider:name`, its key in the environment; None for the scripted one.
        database: a new file to keep the database in; None for one that goes away.

    Returns:
        An exit status: 0 when everything went as it must, 1 when not, 2 for arguments that make no sense.
    """
    if database is not None and (database.exists() or not database.parent.is_dir()):
        return refuse(f"{database} exists already, or cannot be made: name a new file", 2)
    with TemporaryDirectory() as folder, throwaway_key() as key:
        path = database or Path(folder, "desk.sqlite")
        if model is None:
            with tracing_context(enabled=False):  # nothing leaves this machine, whatever LangSmith is set to
                return play(path, key, None)
        try:
            return play(path, key, init_chat_model(model))
        except Exception as error:  # noqa: BLE001 - a provider's client raises what it likes
            return refuse(f"model {model!r} failed with {type(error).__name__}: {error}", 1)


def refuse(problem: str, status: int) -> int:
    """Print why nothing happens; the exit status."""
    print(f"remit demo: {problem}", file=sys.stderr)
    return status


def private_parts(credential: remit.Credential) -> tuple[str, str]:
    """Return what nobody but the holder may see: the token and the private key."""
    return credential.token, json.loads(credential.to_json())["holder_key"]["d"]


@contextmanager
def throwaway_key() -> Generator[str]:
    """Put a key that opens nothing into the environment, for as long as the demonstration runs."""
    key = secrets.token_urlsafe(24)
    os.environ[KEY_VARIABLE] = key
    try:
        yield key
    finally:
        os.environ.pop(KEY_VARIABLE, None)


def play(database: Path, key: str, model: BaseChatModel | None) -> int:
    """Set the stage and play every act; the exit status."""
    audit = remit.MemoryAudit()
    issuer = remit.Issuer.generate("https://issuer.desk.example", audit=audit)
    guard = remit.Guard(
        trust=[issuer.anchor],
        secrets=remit.Secrets({SECRET: f"env://{KEY_VARIABLE}"}),
        audit=audit,
    )
    provider = PaymentProvider(key)
    desk = Desk(database, provider)
    watch = Watch(audit)
    screen = Screen(Console(highlight=False, width=min(Console().width, MAX_WIDTH)))
    stage = story.Stage(issuer, guard, desk, Staff(guard, desk_tools(desk), watch), screen, model)

    screen.say("A support desk of three agents. Each has every tool, and none has every right.", "bold")
    orchestrator, case = story.grant(stage)
    findings = story.handle_message(stage, orchestrator, case)
    findings += story.revoke_in_mid_run(stage, case)
    findings += story.widen(stage, case)

    screen.act("5", "What is in the books")
    screen.query(REFUNDS, desk.refunds())
    credentials = (orchestrator, case.reader, case.refunder)
    private = [key, *(text for credential in credentials for text in private_parts(credential))]
    findings += in_the_books(desk, provider, order_id=story.ORDER, price=story.PRICE, scripted=model is None)
    findings += [nothing_leaked(watch.shown, private), all_on_record(audit, watch.count)]
    screen.findings(findings)
    held = all(finding.held for finding in findings)
    screen.say("Everything went as it must." if held else "Something went as it must not.", "bold")
    return 0 if held else 1

"""What the shell is offered."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .support import Deployment


def offered(deployment: Deployment, words: str) -> list[str]:
    """What bash is offered at the end of these words."""
    count = len(words.split(" ")) - 1
    done = deployment.program(_REMIT_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert done.stderr == ""
    return done.stdout.split()


def test_names_of_the_policy_file_are_offered(deployment: Deployment) -> None:
    assert offered(deployment, "remit issue ") == ["pricing-agent", "reader"]
    Path("remit.toml").write_text("[", encoding="utf-8")
    assert offered(deployment, "remit issue pricing-agent --scope R") == [], "and nothing is said"


class _Context:
    def __init__(self, config: str | None) -> None:
        self.params = {"config": config}


@pytest.mark.parametrize(
    ("name", "incomplete", "names"),
    [
        ("complete_agent", "", ["pricing-agent", "reader"]),
        ("complete_agent", "re", ["reader"]),
        ("complete_scope", "", ["READ", "USER"]),
        ("complete_secret", "O", ["ORDERS_DB"]),
        ("complete_capability", "p", ["payments:refund", "prices:read"]),
        ("complete_agent", "nosuch", []),
    ],
)
def test_each_kind_of_name(name: str, incomplete: str, names: list[str], deployment: Deployment) -> None:
    from remit.cli import completion

    function = getattr(completion, name)
    assert function(_Context(None), incomplete) == names
    assert function(_Context(str(deployment.folder / "remit.toml")), incomplete) == names
    assert function(_Context("nosuch.toml"), incomplete) == []


def test_keys_are_offered(deployment: Deployment) -> None:
    from remit.cli.completion import complete_key

    [kid] = [path.stem for path in Path("anchors").iterdir()]
    assert complete_key(_Context(None), kid[:3]) == [kid]  # type: ignore[arg-type]  # all it looks at


def test_a_shell_gets_its_script() -> None:
    program = Path(sys.executable).with_name("remit")
    command = f"{shlex.quote(str(program))} --show-completion; true"  # bash stays, for Typer to find it
    done = subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert "_REMIT_COMPLETE=complete_bash" in done.stdout

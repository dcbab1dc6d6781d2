"""Runs an example as people do, `cd examples && python -m NAME`, without telemetry and without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
SILENT: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}
OFFLINE: Final = """
import sys

def refuse(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        sys.stderr.write(f"the example asked the network for {host}\\n")
        __import__("os")._exit(99)

sys.addaudithook(refuse)
"""

PRIVATE: Final = re.compile(r"[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}|(?<![\w-])[\w-]{32,}(?![\w-])")

Finished = subprocess.CompletedProcess[str]
RunExample = Callable[..., Finished]


@pytest.fixture
def run_example(tmp_path: Path) -> RunExample:
    """`run_example(name, *options, first="")`: what came of the program; `first` is Python that is run before it."""

    def run(name: str, *options: str, first: str = "") -> Finished:
        (tmp_path / "sitecustomize.py").write_text(OFFLINE + first, encoding="utf-8")
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, **SILENT, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", name, *options],
            cwd=EXAMPLES,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture
def shown_in_readme() -> Callable[[str], list[str]]:
    """`shown_in_readme(name)`: the lines that the first console block of the README shows beneath its command."""

    def shown(name: str) -> list[str]:
        text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
        command, *lines = text.partition("```console\n")[2].partition("```")[0].splitlines()
        assert command == f"$ cd examples && python -m {name}"
        return lines

    return shown


@pytest.fixture
def private() -> Callable[[str], list[str]]:
    """What a text has in it that is a token, or a key or digest in base64url."""
    return PRIVATE.findall

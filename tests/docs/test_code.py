"""Every block of code in README.md and docs/ is run, and what a page says it prints is what it prints.

The Python blocks of a page share one namespace, in order. `<!-- raises: Name -->` before a block says
that it ends with that exception. A `text` block directly after one shows its output, an exception as the
last line of a traceback; `...` in it stands for anything. `<!-- drawing -->` marks a text that is none.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import remit

from .pages import PAGES, ROOT, Block, blocks_of, name_of

RUN = {"python", "console"}
READ = {"text", "toml", "json"}


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A page may write files and set variables of the environment."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def run(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block; what it printed, and the last line of the traceback if it is said to raise."""
    padded = "\n" * (block.line - 1) + block.text
    code = compile(padded, str(block.page), "exec", dont_inherit=True)
    kind, _, raised = block.mark.partition(": ")
    expected = getattr(remit, raised, getattr(builtins, raised, None)) if kind == "raises" else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if expected is None:
            exec(code, namespace)  # noqa: S102 - the project's own pages
            return printed.getvalue()
        with pytest.raises(expected) as caught:
            exec(code, namespace)  # noqa: S102 - as above
    error = caught.value
    assert type(error) is expected
    return f"{printed.getvalue()}{expected.__module__}.{expected.__qualname__}: {error}"


def same(shown: str, printed: str) -> bool:
    """Whether output is what a page shows, `...` being anything."""
    pattern = ".*".join(map(re.escape, shown.strip().split("...")))
    trimmed = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, trimmed, re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_of_a_page_runs_and_prints_what_it_shows(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    output: str | None = None
    for block in blocks_of(page):
        if block.language == "python":
            output = run(block, namespace)
        elif block.language == "text" and block.mark != "drawing":
            assert output is not None, f"{block.where}: output of nothing"
            assert same(block.text, output), (
                f"{block.where}: the page shows\n{block.text}\nand it prints\n{output}"
            )
            output = None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_of_a_page_is_left_out(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in RUN | READ, f"{block.where}: nobody runs or reads {block.language!r}"
        assert not block.mark or block.mark == "drawing" or block.mark.startswith("raises: ")
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize(
    ("shown", "printed", "verdict"),
    [
        ("1\n2", "1\n2\n", True),
        ("1\n2", "1\n3\n", False),
        ("1", "1\n2\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nb\nc\n", False),
        ("<id ...>", "<id 7>\n", True),
        (".", "x", False),
    ],
)
def test_other_output_than_a_page_shows_is_noticed(shown: str, printed: str, verdict: bool) -> None:
    assert same(shown, printed) is verdict


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────

COMMANDS = [
    (block, number)
    for page in PAGES
    for block in blocks_of(page)
    if block.language == "console"
    for number, line in enumerate(block.text.splitlines())
    if line.startswith("$ ")
]


def makefile_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


@cache
def output_of(arguments: tuple[str, ...]) -> str:
    """What `remit` prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from remit.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown_after(block: Block, number: int) -> str:
    """What a page shows as the output of a command."""
    lines = block.text.splitlines()[number + 1 :]
    end = next((i for i, line in enumerate(lines) if line.startswith("$ ")), len(lines))
    return "\n".join(lines[:end])


@pytest.mark.parametrize(
    ("block", "number"), COMMANDS, ids=[f"{block.where}-{number}" for block, number in COMMANDS]
)
def test_a_command_of_a_page_exists_and_prints_what_it_shows(block: Block, number: int) -> None:
    command = block.text.splitlines()[number].removeprefix("$ ").partition("  #")[0].split()
    shown = shown_after(block, number)
    match command:
        case ["make", *targets]:
            assert set(targets) <= makefile_targets()
            # The recipe of `make demo` is `remit demo`, in an environment of its own.
            printed = output_of(("demo",)) if targets == ["demo"] else ""
        case ["remit", *arguments]:
            printed = output_of(tuple(arguments))
        case ["pip", "install", target]:
            extra = re.fullmatch(r"'?remit(?:\[(\w+)\])?'?", target)
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert extra is not None
            assert extra[1] is None or extra[1] in project["optional-dependencies"]
            printed = ""
        case _:
            pytest.fail(f"{block.where}: nobody knows how to check {command}")
    if shown:
        assert same(shown, printed), f"{block.where}: the page shows\n{shown}\nand it prints\n{printed}"

"""Every block of code in README.md and docs/ is run, and what a page says it prints is what it prints.

The Python blocks of a page share one namespace, in order. `<!-- raises: Name -->` before a block says
that it ends with that exception. A `text` block directly after one shows its output, an exception as the
last line of a traceback; `...` in it stands for anything. `<!-- drawing -->` marks a text that is none.
The commands of a page run in one folder, in order; a `toml` block that begins with `# NAME.toml` is that file.
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
from pathlib import Path
from typing import Any

import pytest

import remit

from .pages import PAGES, ROOT, Block, blocks_of, name_of

RUN = {"python", "console"}
READ = {"text", "toml", "json"}


@pytest.fixture(autouse=True)
def _own_place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A page may write files and set variables of the environment. Messages show paths only if they are short."""
    monkeypatch.chdir(tmp_path_factory.mktemp("page"))
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
        assert not block.mark or block.mark == "drawing" or block.mark.startswith(("raises: ", "exits: "))
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

FILE = re.compile(r"# (?P<name>[\w.-]+\.\w+)")
"""The first line of a block that is written to a file, for the commands after it."""


def makefile_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project["optional-dependencies"])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `remit` in it, for the shell."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "remit"
    program.write_text(f"#!{sys.executable}\nfrom remit.cli import main\n\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def printed_by(command: str, programs: Path, status: int) -> str:
    """What a command prints, in the folder of its page."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stdout + done.stderr


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what the page shows after it."""
    command: str | None = None
    shown: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, "\n".join(shown)
            command, shown = line.removeprefix("$ ").partition("  #")[0].strip(), []
        elif command is not None:
            shown.append(line)
    if command is not None:
        yield command, "\n".join(shown)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_run_in_order_and_print_what_it_shows(page: Path, programs: Path) -> None:
    """`<!-- exits: 1 -->` before a block says how its last command ends; all others end with 0."""
    for block in blocks_of(page):
        name = FILE.match(block.text)
        if name is not None and block.language == "toml":
            Path(name["name"]).write_text(block.text, encoding="utf-8")
        if block.language != "console":
            continue
        commands = list(commands_of(block))
        kind, _, last = block.mark.partition(": ")
        for number, (command, shown) in enumerate(commands, 1):
            status = int(last) if kind == "exits" and number == len(commands) else 0
            printed = checked(command, block, programs, status)
            if shown and printed is not None:
                assert same(shown, printed), f"{block.where}: the page shows\n{shown}\nit prints\n{printed}"


def checked(command: str, block: Block, programs: Path, status: int) -> str | None:
    """Run a command, or look whether what it names is there; what it printed, if it was run."""
    match command.split():
        case ["make", "demo"]:  # its recipe is `remit demo`, in an environment of its own
            return printed_by("remit demo", programs, status)
        case ["make", *targets]:
            assert set(targets) <= makefile_targets()
            return None
        case ["pip", "install", target]:
            extra = re.fullmatch(r"'?remit(?:\[(\w+)\])?'?", target)
            assert extra is not None
            assert extra[1] is None or extra[1] in extras()
            return None
        case ["remit", *_]:
            return printed_by(command, programs, status)
        case ["export", assignment, *_]:
            name = assignment.partition("=")[0]
            os.environ[name] = printed_by(f'{command}; printf %s "${name}"', programs, status)
            return None
        case _:
            pytest.fail(f"{block.where}: nobody knows how to check {command!r}")

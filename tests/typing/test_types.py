"""The types that users see: what must be accepted is, and what must be refused is, line by line."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import remit

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
_MARK: Final = re.compile(r"# error: ([a-z-]+)$")
_FOUND: Final = re.compile(r":(\d+): error: .*\[([a-z-]+)\]$")


def _mypy(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of a file in its strictest mode, with nothing but `remit` on its path."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "--no-error-summary",
         "--explicit-package-bases", str(path)],
        capture_output=True, text=True, check=False, cwd=cache,
        env={"MYPYPATH": str(Path(str(remit.__file__)).parent.parent), "PATH": ""},
    )  # fmt: skip


def test_mypy_accepts_what_is_right(tmp_path: Path) -> None:
    done = _mypy(HERE / "accepted.py", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_mypy_refuses_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    text = (HERE / "refused.py.txt").read_text(
        "utf-8"
    )  # not .py, or every check of the tree would find its errors
    (tmp_path / "refused.py").write_text(text, "utf-8")
    source = text.splitlines()
    expected = {
        (number, mark[1]) for number, line in enumerate(source, start=1) if (mark := _MARK.search(line))
    }
    done = _mypy(tmp_path / "refused.py", tmp_path)
    found = {(int(match[1]), match[2]) for line in done.stdout.splitlines() if (match := _FOUND.search(line))}
    assert len(expected) > 20
    assert found == expected


@pytest.mark.parametrize("checker", [name for name in ("pyright",) if importlib.util.find_spec(name)])
def test_other_checkers_accept_what_is_right(checker: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", checker, "--project", str(ROOT / "pyproject.toml"), str(HERE / "accepted.py")],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

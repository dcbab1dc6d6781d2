"""Takes the mechanisms of an adapter away one by one and looks which test notices.

The `mutations.py` of each adapter's tests holds a table of mutations and is run as a script. Each mutation is one small
edit of a copy of the sources; the tests beside the table run against the copy, and must fail. Words choose the mutations
whose names have them. Exit status: 0 when every mutation was caught, and the tests pass when nothing is taken away.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT: Final = 900
"""Seconds after which tests are taken to hang, for which an agent that is never answered has its reasons."""


@dataclass(frozen=True)
class Mutation:
    """One edit: `old`, which is in `path` exactly once, becomes `new`."""

    name: str
    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Trial:
    """Where mutations are tried.

    Args:
        tests: the folder of tests that must notice.
        sources: the folders, from the root of the project, that are copied and may be edited.
    """

    tests: Path
    sources: Sequence[str]

    def attempt(self, mutation: Mutation | None) -> str | None:
        """The first test that fails with the mutation; `None` when none does.

        Raises:
            LookupError: the source is no longer what the mutation was written for, or does not run at all.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for source in self.sources:
                shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
            if mutation is not None:
                path = folder / mutation.path
                text = path.read_text(encoding="utf-8")
                if (count := text.count(mutation.old)) != 1:
                    raise LookupError(f"{mutation.path} has {count} times {mutation.old!r}")
                path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
            return self.first_failure(folder)

    def first_failure(self, folder: Path) -> str | None:
        """The first test that fails with the sources in `folder`; `None` when none does.

        Raises:
            LookupError: the tests do not run at all.
        """
        paths = os.pathsep.join(dict.fromkeys(str((folder / source).parent) for source in self.sources))
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "--tb=no"]
        try:
            done = subprocess.run(
                [*command, str(self.tests)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return "(the tests do not end)"
        if done.returncode == 0:
            return None
        failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
        if failed is None and re.match(r"[.s]*F", done.stdout):  # pytest fell over it before it told the name
            return "(a test, and pytest itself)"
        if failed is None:
            raise LookupError(done.stdout[-1_000:] + done.stderr[-1_000:])
        return failed.group(1).partition(f"{self.tests.name}/")[2]

    def verdict(self, mutation: Mutation | None) -> tuple[bool, str]:
        """Whether all is well with a mutation, and what to say of it."""
        name = "nothing taken away" if mutation is None else mutation.name
        try:
            caught = self.attempt(mutation)
        except LookupError as error:
            return False, f"{name}\n    CANNOT BE TRIED: {error}"
        return (caught is None) == (mutation is None), f"{name}\n    {caught or 'no test fails'}"


def main(words: Sequence[str], mutations: Sequence[Mutation], *, tests: Path, sources: Sequence[str]) -> int:
    """Try the mutations that the words choose, and none at all; the exit status."""
    chosen = [mutation for mutation in mutations if all(word in mutation.name for word in words)]
    verdict = partial(Trial.verdict, Trial(tests, sources))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = 0
        for well, text in pool.map(verdict, [None, *chosen]):
            wrong += not well
            sys.stdout.write(f"{'  ' if well else '! '}{text}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutations, {wrong} not as they should be\n")
    return 1 if wrong or not chosen else 0

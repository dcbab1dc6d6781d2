"""Runs each adapter's tests against the oldest framework that its extra allows, and the newest there is.

    python tools/try_versions.py [--only FRAMEWORK]… [--keep]

What is oldest stands in `pyproject.toml`. Each run has a virtual environment of its own, made with uv: the
checkout with the extra, and what the tests need. Exit status: 0 when every run passed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent
UV: Final = Path(sys.executable).parent / "uv"
FRAMEWORKS: Final = {
    "langchain": ("langchain", "langchain-core", "langgraph"),
    "crewai": ("crewai",),
    "autogen": ("autogen-agentchat", "autogen-core"),
}
"""Of each extra, the distributions whose versions are shown; the extra names the first."""
RESOLUTIONS: Final = {"oldest": "lowest-direct", "newest": "highest"}
TOOLS: Final = ("hypothesis", "pytest", "pytest-asyncio")
SILENT: Final = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}
VERSIONS: Final = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
COUNTS: Final = re.compile(r"(\d+) (passed|failed|error)")
WIDTHS: Final = (10, 7, 58, 7, 7)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one framework at one age."""

    versions: str
    passed: int = 0
    failed: int = 0
    problem: str = ""
    """What was printed, where not all is well."""


class Versions:
    """Tries frameworks in environments below a folder.

    Args:
        folder: where the environments are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    def attempt(self, framework: str, age: str) -> Result:
        """Make an environment, and run the adapter's tests in it."""
        folder = self._folder / f"{framework}-{age}"
        python, names = folder / "bin" / "python", FRAMEWORKS[framework]
        pip = (UV, "pip", "install", "--quiet", "--python", python)
        steps: list[tuple[str | Path, ...]] = [
            (UV, "venv", "--quiet", "--python", sys.executable, folder),
            (*pip, "--resolution", RESOLUTIONS[age], "--editable", f"{ROOT}[{framework}]"),
            (*pip, *self._tools()),
        ]
        for step in steps:
            done, output = run(*step)
            if not done:
                return Result("not installed", problem=output)
        found = run(python, "-c", VERSIONS, *names)[1].split()
        versions = ", ".join(map(" ".join, zip(names, found, strict=True)))
        if age == "oldest" and found[0] != (lowest := self._lower_bound(framework)):
            return Result(versions, problem=f"{names[0]} should be {lowest}, and is {found[0]}")
        done, output = run(
            python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/integrations/{framework}"
        )
        counts = {kind: int(number) for number, kind in COUNTS.findall(output.rpartition("\n")[2])}
        failed = counts.get("failed", 0) + counts.get("error", 0)
        return Result(versions, counts.get("passed", 0), failed, "" if done else output[-4_000:])

    def _tools(self) -> list[str]:
        wanted: list[str] = self._project["dependency-groups"]["test"]
        return [each for each in wanted if Requirement(each).name in TOOLS]

    def _lower_bound(self, framework: str) -> str:
        requirements = map(Requirement, self._project["project"]["optional-dependencies"][framework])
        (named,) = (each for each in requirements if each.name == FRAMEWORKS[framework][0])
        return next(each.version for each in named.specifier if each.operator == ">=")


def run(*words: str | Path) -> tuple[bool, str]:
    """Run a program in the checkout; whether it went well, and what it printed."""
    done = subprocess.run(  # noqa: S603 - uv, and what it installed
        words,
        cwd=ROOT,
        env={**os.environ, **SILENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout.strip()


def print_row(*cells: object) -> None:
    """Print one row of the table, as soon as it is known."""
    padded = (f"{cell:<{width}}" for cell, width in zip(map(str, cells), WIDTHS, strict=False))
    print(*padded, *cells[len(WIDTHS) :], flush=True)


def main() -> int:
    """Try what was asked for and print a table; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=FRAMEWORKS, help="this framework; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the environments, and say where they are")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="remit-versions-"))
    problems: list[str] = []
    print_row("framework", "age", "versions", "passed", "failed", "seconds")
    try:
        for framework in options.only or FRAMEWORKS:
            for age in RESOLUTIONS:
                began = time.monotonic()
                result = Versions(folder).attempt(framework, age)
                seconds = round(time.monotonic() - began)
                print_row(framework, age, result.versions, result.passed, result.failed, seconds)
                if result.problem or result.failed or not result.passed:
                    problems.append(f"\n{framework}, {age}:\n{result.problem or 'no test ran'}")
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

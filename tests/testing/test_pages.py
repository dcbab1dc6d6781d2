"""What the pages on testing show is what happens: their commands are run, and their counts are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

pytest_plugins = ["pytester"]

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INI: Final = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"


def blocks(page: str, language: str) -> list[str]:
    return [
        text for kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")) if kind == language
    ]


def test_the_adapter_of_the_page_keeps_the_contract(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile(test_contract="\n".join(blocks("integrations/custom.md", "python")))
    shown = next(text for text in blocks("integrations/custom.md", "text") if "passed" in text)
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "test_contract.py")
    outcomes = result.parseoutcomes()
    assert shown.splitlines()[-1] == f"{outcomes['passed']} passed"
    assert outcomes.keys() == {"passed"}


def test_the_adapter_of_the_page_without_its_third_line(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    source = "\n".join(blocks("integrations/custom.md", "python"))
    line = "    agent.cache = None  # it would answer before the guard is asked\n"
    assert source.count(line) == 1
    pytester.makepyfile(test_contract=source.replace(line, ""))
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "test_contract.py")
    shown = next(text for text in blocks("integrations/custom.md", "text") if "served from a cache" in text)
    result.stdout.fnmatch_lines([f"E*{shown.strip()}*"])


def test_the_adapter_of_the_page_is_under_a_hundred_lines() -> None:
    adapter = next(text for text in blocks("integrations/custom.md", "python") if "def bind_agent" in text)
    assert len(adapter.splitlines()) < 100


def test_the_fixtures_of_the_page_work(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile(test_orders=blocks("how-to/testing.md", "python")[0])
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "test_orders.py").assert_outcomes(passed=1)


def test_the_attack_of_the_page_finds_what_it_shows(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    shop = next(text for text in blocks("how-to/testing.md", "python") if text.startswith("# shop.py"))
    pytester.makepyfile(shop=shop)
    command, shown = [text for text in blocks("how-to/testing.md", "text") if "token_expired" not in text]
    arguments = command.removeprefix("$ pytest").split()
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for line in shown.splitlines():
        assert line in result.outlines

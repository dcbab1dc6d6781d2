"""`docs/how-to/secrets.md`: the references it shows are ones, and its lists are complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import remit
from remit.secrets.backend import _BUILT_IN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "secrets.md"
TEXT = PAGE.read_text(encoding="utf-8")
TABLES = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]
SECRETS = [table["secrets"] for table in TABLES if "secrets" in table]


@pytest.mark.parametrize("table", SECRETS, ids=lambda table: next(iter(table)))
def test_every_reference_of_the_page_is_one(table: dict[str, str]) -> None:
    assert remit.Secrets(table, root="/srv/app").references == table


def test_the_page_shows_each_scheme_in_a_table_and_in_a_file() -> None:
    shown = {reference.partition("://")[0] for table in SECRETS for reference in table.values()}
    assert shown == set(_BUILT_IN)
    assert re.findall(r"^\| `(\w+)` \| `(\w+)://", TEXT, re.MULTILINE) == [
        (scheme, scheme) for scheme in _BUILT_IN
    ]


def test_the_entry_point_group_is_the_one_that_is_read() -> None:
    [table] = [table for table in TABLES if "project" in table]
    assert list(table["project"]["entry-points"]) == ["remit.secrets"]

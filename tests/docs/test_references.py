"""What a page points to is there: other pages, headings, names of Remit, tests, denial codes, constraints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import remit
import remit.testing  # pyright: ignore[reportUnusedImport] - so that pages may name what is in it
import remit_autogen
import remit_crewai
import remit_langchain
import remit_service
from remit.constraints.narrowing import NARROWING
from remit.constraints.registry import CONSTRAINT_TYPES

from .pages import PAGES, ROOT, anchors_of, links_of, name_of, prose_of, table_after

CONCEPTS = ROOT / "docs" / "concepts.md"
PLANNED = ROOT / "docs" / "requirements.md"
"""What must be there one day: the names in it, and the way to it, are not looked at."""
NO_NAMES = {"remit.toml", "remit.demos", "remit.integrations"}
PACKAGES = {
    each.__name__: each for each in (remit, remit_autogen, remit_crewai, remit_langchain, remit_service)
}
OF_A_CLASS = {
    "issuer": remit.Issuer,
    "credential": remit.Credential,
    "guard": remit.Guard,
    "permit": remit.Permit,
    "anchor": remit.TrustAnchor,
}
NAME = re.compile(r"(?<![\w./-])(?P<of>[A-Za-z_]\w*)\.(?P<name>[A-Za-z_]\w*)(?!\w*\.md)")
CODE = re.compile(r"`([^`\n]+)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links_of(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target}"
        assert file.is_relative_to(ROOT), f"{name_of(page)}: {target}"
        assert not anchor or anchor in anchors_of(file), f"{name_of(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_in_the_prose_exists(page: Path) -> None:
    if page == PLANNED:
        return
    for match in (m for code in CODE.findall(prose_of(page)) for m in NAME.finditer(code)):
        of, name = match["of"], match["name"]
        holder = PACKAGES.get(of) or OF_A_CLASS.get(of)
        if holder is None and of in remit.__all__:
            holder = getattr(remit, of)
        if holder is not None and match[0] not in NO_NAMES:
            assert hasattr(holder, name), f"{name_of(page)}: {match[0]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    places = (
        ROOT / "tests",
        ROOT / "core" / "remit" / "testing",
    )  # the second holds the contract of adapters
    sources = [path.read_text(encoding="utf-8") for place in places for path in place.rglob("*.py")]
    known = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    known |= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+", page.read_text(encoding="utf-8"))) <= known


def test_the_denial_codes_are_all_there_are() -> None:
    codes = [row[0].strip("`") for row in table_after(CONCEPTS, "Denial codes")]
    assert sorted(codes) == sorted(get_args(remit.DenialCode))


def test_the_constraints_are_all_there_are_and_narrow_as_the_table_says() -> None:
    rows = table_after(CONCEPTS, "Constraints")
    name_of_kind = {kind: kind.__name__ for kind in CONSTRAINT_TYPES.values()}
    assert sorted(re.match(r"`(\w+)", row[0])[1] for row in rows) == sorted(name_of_kind.values())  # type: ignore[index]
    for row in rows:
        parent = re.match(r"`(\w+)", row[0])[1]  # type: ignore[index]
        said = set(re.findall(r"`(\w+)`", row[2]))
        if parent == "Anything":
            assert said == set()
            continue
        assert said == {name_of_kind[c] for p, c in NARROWING if name_of_kind[p] == parent}, parent


def test_every_page_is_reached_from_the_first() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [
            (page.parent / link.partition("#")[0]).resolve() for link in links_of(page) if ".md" in link
        ]
        waiting += [target for target in targets if target.is_relative_to(ROOT)]
    assert set(PAGES) - {PLANNED} <= reached

"""Markdown as far as the pages of this project use it: fenced blocks, marks before them, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>[\w-]*)\s*")
_MARK = re.compile(r"<!-- (?P<mark>.+?) -->")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"#+ (?P<text>.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block. `mark` is the HTML comment that stands directly before it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    blocks: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    mark, position = "", 0
    while position < len(lines):
        fence = _FENCE.fullmatch(lines[position])
        if fence is None:
            comment = _MARK.fullmatch(lines[position].strip())
            mark = comment["mark"] if comment else mark if not lines[position].strip() else ""
            position += 1
            continue
        end = lines.index(f"{fence['indent']}```", position + 1)
        body = [line.removeprefix(fence["indent"]) for line in lines[position + 1 : end]]
        blocks.append(Block(page, position + 2, fence["language"], "\n".join(body), mark))
        mark, position = "", end + 1
    return blocks


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.fullmatch(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links_of(page: Path) -> list[str]:
    """The targets of a page's links, as they are written."""
    return [match["target"] for match in _LINK.finditer(prose_of(page))]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = (_HEADING.fullmatch(line) for line in prose_of(page).splitlines())
    return {
        re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-") for heading in headings if heading
    }


def table_after(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, header and rule left out, cells stripped."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f" {heading}\n")
    rows = []
    for line in rest.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
        elif rows:
            break
    return rows[2:]

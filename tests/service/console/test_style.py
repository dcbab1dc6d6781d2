"""The style sheet: what is written can be read, in light and in dark, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import remit.service.console

FOLDER: Final = Path(remit.service.console.__file__).parent / "static"
STYLE: Final = (FOLDER / "console.css").read_text()
ENOUGH: Final = 4.5
"""What WCAG 2.2 asks for at level AA, of text (1.4.3)."""
EDGE: Final = 3.0
"""Of what shows where a control is (1.4.11)."""

WRITTEN: Final = [
    *((ink, paper) for ink in ("ink", "muted", "accent", "bad") for paper in ("card", "paper", "sunk")),
    ("accent-ink", "accent"),
    ("accent", "accent-soft"),
    ("good", "good-soft"),
    ("bad", "bad-soft"),
    ("warn", "warn-soft"),
    ("gone", "gone-soft"),
    ("warn", "card"),
    ("muted", "bad-soft"),
    ("muted", "gone-soft"),
    ("card", "bad"),
    *(("ink", paper) for paper in ("good-soft", "bad-soft", "warn-soft")),
]


def colours(scheme: str) -> dict[str, str]:
    """The colours of a scheme by name; the dark one changes some of the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return named if scheme == "light" else {**named, **dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))}


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(two)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_stands_out(scheme: str) -> None:
    named = colours(scheme)
    weak = {pair: contrast(named[pair[0]], named[pair[1]]) for pair in WRITTEN}
    assert {pair: round(value, 2) for pair, value in weak.items() if value < ENOUGH} == {}
    assert contrast(named["edge"], named["card"]) >= EDGE


def test_nothing_is_asked_for_elsewhere() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", ""), path.name
        assert "@import" not in text
        assert "url(" not in text

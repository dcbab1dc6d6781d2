"""No byte of a presentation may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from .forge import Story, story
from .judge import CODES, denies, guard, permits

WRONG: Final = CODES - {"capability_missing", "argument_denied", "proof_replayed", "limit_exceeded"}
"""What a forged byte may be called: never a mere denial of the arguments, which would mean that it was believed."""
NEXT: Final = {"A": "B", "B": "A", "-": "_", "_": "-", ".": "A"}

FLIPS: Final[dict[str, Callable[[str], str]]] = {
    "low bit": lambda letter: chr(ord(letter) ^ 1),
    "high bit": lambda letter: chr(ord(letter) ^ 0x40),
    "case": lambda letter: letter.swapcase() if letter.isalpha() else NEXT.get(letter, "A"),
    "letter": lambda letter: NEXT.get(letter, "A"),
    "gone": lambda _: "",
    "doubled": lambda letter: letter * 2,
    "dot": lambda letter: "." if letter != "." else "",
}


def _seal() -> tuple[Story, list[str]]:
    made = story(1)
    sealed = made.seal()
    return made, [*sealed["aat_chain"], sealed["aat_pop"]]


def _put(parts: list[str]) -> dict[str, object]:
    return {"aat_chain": parts[:-1], "aat_pop": parts[-1]}


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("part", [0, 1, 2], ids=["root", "leaf", "proof"])
def test_a_changed_byte_anywhere_is_refused(part: int, flip: str) -> None:
    """Flip every byte: none of them is without meaning, whatever the guard has verified and remembers."""
    made, parts = _seal()
    judge = guard()
    warm = story(1)
    warm.proof.set(jti="warm")
    permits(warm, by=judge)
    tried = 0
    for position, letter in enumerate(parts[part]):
        changed = parts[part][:position] + FLIPS[flip](letter) + parts[part][position + 1 :]
        if changed == parts[part]:
            continue
        tried += 1
        denies(_put([*parts[:part], changed, *parts[part + 1 :]]), WRONG, made, by=judge)
    assert tried >= len(parts[part]) * 0.9
    permits(_put(parts), made, by=judge)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["root", "leaf", "proof"])
def test_a_truncated_part_is_refused(part: int) -> None:
    """Cut anywhere, from either end."""
    made, parts = _seal()
    judge = guard()
    for length in range(len(parts[part])):
        for cut in (parts[part][:length], parts[part][len(parts[part]) - length :]):
            denies(_put([*parts[:part], cut, *parts[part + 1 :]]), WRONG, made, by=judge)
    permits(_put(parts), made, by=judge)


def test_segments_of_different_tokens_do_not_mix() -> None:
    """Signature verification operates on the raw encoded header and payload bytes."""
    made, parts = _seal()
    judge = guard()
    segments = [part.split(".") for part in parts]
    tried = 0
    for part in range(3):
        for other in range(3):
            for place in range(3):
                mixed = list(segments[part])
                mixed[place] = segments[other][place]
                if mixed == segments[part]:
                    continue
                tried += 1
                changed = [*parts[:part], ".".join(mixed), *parts[part + 1 :]]
                denies(_put(changed), WRONG, made, by=judge)
    assert tried >= 14
    permits(_put(parts), made, by=judge)

"""What these tests share: writing a policy file, and what a refused one says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import remit
from remit.config import Config, load

URI: Final = "https://auth.acme.example"
NOW: Final = 1_800_000_000


def policy(text: str) -> Config:
    """What a policy file in the working directory says."""
    Path("remit.toml").write_text(text, encoding="utf-8")
    return load("remit.toml")


def refusal(text: str | bytes) -> str:
    """What is said of a policy file that is refused."""
    data = text.encode("utf-8") if isinstance(text, str) else text
    Path("remit.toml").write_bytes(data)
    with pytest.raises(remit.ConfigError) as caught:
        load("remit.toml")
    return str(caught.value)


def agent(line: str) -> str:
    """A policy file whose agent `a` has, on line 3, `line` beside a plain grant."""
    return f'[agents.a]\ncapabilities = ["x:do"]\n{line}\n'

"""The middleware needs nothing but Remit."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import remit_service

FOREIGN: Final = ("starlette", "fastapi", "uvicorn", "httpx", "pydantic", "anyio")


def test_it_is_imported_without_any_framework() -> None:
    program = f"import sys, remit_service; print([each for each in {FOREIGN!r} if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_its_public_names_are_these() -> None:
    assert remit_service.__all__ == ["CapabilityMiddleware", "headers"]
    for name in remit_service.__all__:
        assert getattr(remit_service, name).__doc__

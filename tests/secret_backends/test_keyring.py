"""R10: the keyring backend, with a real keyring that keeps its passwords in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

import remit

from .support import check_guarded, why

CANARY = "canary-0b5e55"


class InMemory(keyring.backend.KeyringBackend):
    """A keyring as a user may have one."""

    priority = 1  # type: ignore[assignment,unused-ignore]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.error: BaseException | None = None
        self.gate: threading.Event | None = None

    def get_password(self, service: str, username: str) -> str | None:
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[InMemory]:
    before, held = keyring.get_keyring(), InMemory()
    keyring.set_keyring(held)
    keyring.set_password("broker", "trader@acme.example", CANARY)
    yield held
    keyring.set_keyring(before)


def _secrets(reference: str = "keyring://broker/trader@acme.example", **options: Any) -> remit.Secrets:
    return remit.Secrets({"KEY": reference}, **options)


def test_a_password_is_read(ring: InMemory) -> None:
    assert _secrets().fetch("KEY") == CANARY


@pytest.mark.parametrize("place", ["broker/Trader@acme.example", "Broker/trader@acme.example", "other/x"])
def test_what_is_not_there_is_not_found(ring: InMemory, place: str) -> None:
    assert why(_secrets(f"keyring://{place}"))[0] == "secret_not_found"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (keyring.errors.KeyringLocked(CANARY), "the keyring is locked"),
        (keyring.errors.InitError(CANARY), "the keyring is locked"),
        (keyring.errors.KeyringError(CANARY), "it failed with KeyringError"),
        (RuntimeError(CANARY), "it failed with RuntimeError"),
        (SystemExit(CANARY), "it failed with SystemExit"),
    ],
)
def test_a_keyring_that_fails_is_not_quoted(ring: InMemory, error: BaseException, said: str) -> None:
    ring.error = error
    code, reason = why(_secrets())
    assert (code, said in reason) == ("secret_backend_error", True)
    assert "canary" not in reason


def test_a_machine_without_a_keyring_is_told_so(ring: InMemory) -> None:
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    assert "there is no keyring here" in why(_secrets())[1]


def test_a_keyring_that_waits_to_be_unlocked_is_not_waited_for(ring: InMemory) -> None:
    ring.gate = threading.Event()
    secrets = _secrets(timeout="1s")
    assert secrets.remote
    assert "did not answer in time" in why(secrets)[1]
    ring.gate.set()
    assert secrets.fetch("KEY") == CANARY


def test_all_of_it_is_recorded_and_none_of_it_told(ring: InMemory, caplog: pytest.LogCaptureFixture) -> None:
    ring.set_password("service", "bytes", 5)  # type: ignore[arg-type]  # a keyring that gives no text
    references = {
        "GOOD": "keyring://broker/trader@acme.example",
        "MISSING": "keyring://broker/nobody",
        "FAILING": "keyring://service/bytes",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references), expected, caplog)

"""The keys of an instance while their files change under it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import remit
from remit.service import Instance
from remit.service.keyring import Keyring

from .support import URI, Deployment, client_of, holder

PASSPHRASE = "the passphrase of the issuer's key"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment.make(tmp_path / "service")


@pytest.fixture
def instance(deployment: Deployment) -> Iterator[Instance]:
    with deployment.instance() as opened:
        yield opened


@pytest.fixture
def keys(instance: Instance) -> Keyring:
    return instance.keys


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that could not be used is tried again with the next call."""
    monkeypatch.setattr("remit.service.keyring._RETRY", 0)


def kid(issuer: remit.Issuer) -> str:
    return issuer.anchor.key.thumbprint


def put(
    deployment: Deployment,
    *,
    anchor: bool = True,
    mode: int = 0o600,
    passphrase: str | None = None,
) -> remit.Issuer:
    """Put a new key in the place of the one that signs, as a deployment tool does."""
    new = remit.Issuer.generate(URI)
    if anchor:
        new.anchor.save(deployment.folder / "anchors" / f"{kid(new)}.json")
    draft = deployment.folder / f"{kid(new)}.key"
    new.save(draft, passphrase=passphrase)
    draft.chmod(mode)
    draft.replace(deployment.folder / "issuer.key")
    return new


def trusted(keys: Keyring) -> set[str]:
    return {anchor.key.thumbprint for anchor in keys.anchors()}


def test_an_instance_accepts_what_it_has_signed_whoever_had_it_look_for_keys_just_before(
    deployment: Deployment, instance: Instance
) -> None:
    client = client_of(instance)
    for _ in range(30):
        forged = remit.Issuer.generate(URI).issue("a", ["prices:read"]).token
        assert client.post("/v1/tokens/verify", json={"token": forged}).status_code == 401
    new = put(deployment)
    asked = {"subject_pubkey": holder().public.x, "agent": "pricing-agent"}
    token = client.post("/v1/tokens", json=asked, headers=deployment.headers).json()["token"]
    assert kid(instance.keys.issuer()) == kid(new)
    answer = client.post("/v1/tokens/verify", json={"token": token})
    assert (answer.status_code, answer.json().get("code")) == (200, None)


@pytest.mark.parametrize("anchor", [True, False], ids=["with-anchor", "without"])
def test_the_key_that_signs_is_always_among_the_anchors(
    deployment: Deployment, keys: Keyring, anchor: bool
) -> None:
    first = kid(keys.issuer())
    for _ in range(20):
        keys.refresh("made-up")
        new = put(deployment, anchor=anchor)
        assert kid(keys.issuer()) == kid(new)
        assert {kid(new), first} <= trusted(keys)


def test_a_key_whose_anchor_file_is_missing_is_trusted_from_the_start(deployment: Deployment) -> None:
    new = put(deployment, anchor=False)
    with deployment.instance() as opened:
        assert kid(new) in trusted(opened.keys)
        opened.guard.validate(opened.keys.signing().issue("pricing-agent", ["prices:read"]).token)


def test_without_an_anchors_folder_the_key_that_signs_is_the_anchor(deployment: Deployment) -> None:
    deployment.path.write_text(deployment.path.read_text().replace('anchors = "anchors"\n', ""))
    with deployment.instance() as opened:
        assert trusted(opened.keys) == {kid(opened.keys.issuer())}
        new = put(deployment, anchor=False)
        assert trusted(opened.keys) != {kid(new)}  # it does not sign yet
        assert kid(opened.keys.issuer()) == kid(new)
        assert kid(new) in trusted(opened.keys)


@pytest.mark.usefixtures("at_once")
def test_while_anchors_cannot_be_read_the_key_that_is_trusted_signs_on(
    deployment: Deployment, keys: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    old = kid(keys.issuer())
    half = deployment.folder / "anchors" / "half.json"
    half.write_text("{")
    half.chmod(0o644)
    new = put(deployment)
    with caplog.at_level(logging.WARNING, "remit"):
        for _ in range(3):
            assert kid(keys.issuer()) == old
            assert old in trusted(keys)
    assert len([message for message in caplog.messages if "cannot be read anew" in message]) == 1
    half.unlink()
    assert kid(keys.issuer()) == kid(new)
    assert trusted(keys) == {old, kid(new)}


def test_a_key_whose_mode_was_put_right_signs_at_once(deployment: Deployment, keys: Keyring) -> None:
    old = kid(keys.issuer())
    new = put(deployment, mode=0o644)
    assert kid(keys.issuer()) == old
    (deployment.folder / "issuer.key").chmod(0o600)
    assert kid(keys.issuer()) == kid(new)


def test_a_key_of_the_same_size_and_time_in_the_same_file_is_noticed(
    deployment: Deployment, keys: Keyring
) -> None:
    path = deployment.folder / "issuer.key"
    found = path.stat()
    new = remit.Issuer.generate(URI)
    new.save(deployment.folder / "new.key")
    path.write_bytes((deployment.folder / "new.key").read_bytes())
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert kid(keys.issuer()) == kid(new)


@pytest.mark.usefixtures("at_once")
def test_a_key_whose_passphrase_cannot_be_had_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = Deployment.make(tmp_path / "service", issuer='passphrase = "env://ISSUER_PASSPHRASE"')
    (deployment.folder / "issuer.key").unlink()
    old = put(deployment, passphrase=PASSPHRASE)
    monkeypatch.setenv("ISSUER_PASSPHRASE", PASSPHRASE)
    with deployment.instance() as opened, caplog.at_level(logging.WARNING, "remit"):
        monkeypatch.delenv("ISSUER_PASSPHRASE")
        new = put(deployment, passphrase=PASSPHRASE)
        for _ in range(3):
            assert kid(opened.keys.issuer()) == kid(old)
        assert len(caplog.messages) == 1
        assert PASSPHRASE not in caplog.text
        monkeypatch.setenv("ISSUER_PASSPHRASE", PASSPHRASE)
        assert kid(opened.keys.issuer()) == kid(new)
        assert kid(new) in trusted(opened.keys)


def test_a_key_that_cannot_be_used_is_not_read_with_every_call(
    deployment: Deployment, keys: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.service.keyring._RETRY", 300)
    reads: list[None] = []
    loaded = keys._loaded

    def counted() -> remit.Issuer:
        reads.append(None)
        return loaded()

    monkeypatch.setattr(keys, "_loaded", counted)
    put(deployment, mode=0o644)
    for _ in range(10):
        keys.issuer()
    assert len(reads) == 1
    (deployment.folder / "issuer.key").unlink()
    for _ in range(10):
        keys.issuer()
    assert len(reads) == 2
    new = put(deployment)
    for _ in range(10):
        assert kid(keys.issuer()) == kid(new)
    assert len(reads) == 3


def test_many_at_once_read_a_new_key_once(
    deployment: Deployment, keys: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[None] = []
    loaded, together = keys._loaded, threading.Barrier(8)

    def counted() -> remit.Issuer:
        reads.append(None)
        return loaded()

    def ask() -> str:
        together.wait(20)
        return kid(keys.issuer())

    monkeypatch.setattr(keys, "_loaded", counted)
    new = put(deployment)
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(ask) for _ in range(8)]
        assert {one.result(20) for one in found} == {kid(new)}
    assert len(reads) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_that_is_forked_while_a_key_is_read_reads_it(deployment: Deployment, keys: Keyring) -> None:
    new = put(deployment)
    with keys._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)  # what hangs is killed
            os._exit(0 if kid(keys.issuer()) == kid(new) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

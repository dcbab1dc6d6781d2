"""R33, R37: key files are private from their first byte, whole or absent, and never overwritten."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import remit

from .support import NOW, URI, World, verdict

PASSPHRASE: Final = "correct horse battery staple"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o000, 0o777], ids=["022", "077", "000", "777"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


SAVES: Final[dict[str, Callable[[Any], None]]] = {
    "issuer": remit.Issuer.generate(URI).save,
    "issuer with a passphrase": lambda path: remit.Issuer.generate(URI).save(path, passphrase=PASSPHRASE),
    "credential": lambda path: remit.Issuer.generate(URI).issue("a", ["t"]).save(path),
    "anchor": remit.Issuer.generate(URI).anchor.save,
}
LOADS: Final[dict[str, Callable[[Any], object]]] = {
    "issuer": remit.Issuer.load,
    "issuer with a passphrase": partial(remit.Issuer.load, passphrase=PASSPHRASE),
    "credential": remit.Credential.load,
    "anchor": remit.TrustAnchor.load,
}
PRIVATE: Final = ["issuer", "issuer with a passphrase", "credential"]


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_file_is_0600_whatever_the_umask(kind: str, umask: int, tmp_path: Path) -> None:
    SAVES[kind](tmp_path / "key")
    assert _mode(tmp_path / "key") == 0o600
    assert LOADS[kind](tmp_path / "key") is not None


def test_an_anchor_may_be_read_by_anyone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    SAVES["anchor"](tmp_path / "anchor")
    assert _mode(tmp_path / "anchor") == 0o644


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_file_is_never_readable_by_others_while_it_is_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        modes.extend(_mode(path) for path in tmp_path.iterdir())
        real(descriptor)

    before = os.umask(0)
    monkeypatch.setattr(os, "fsync", spy)
    try:
        SAVES[kind](tmp_path / "key")
    finally:
        os.umask(before)
    assert modes
    assert set(modes) == {0o600}


@pytest.mark.parametrize("kind", SAVES)
def test_a_file_is_never_overwritten(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    SAVES[kind](path)
    before = path.read_bytes()
    with pytest.raises(remit.KeyFileError, match="never overwritten"):
        SAVES[kind](path)
    assert path.read_bytes() == before
    path.write_bytes(b"")
    with pytest.raises(remit.KeyFileError):
        SAVES[kind](str(path))
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208 - hidden files count


@pytest.mark.parametrize("kind", SAVES)
def test_a_symbolic_link_is_not_followed_to_be_written(kind: str, tmp_path: Path) -> None:
    victim, link, dangling = tmp_path / "victim", tmp_path / "link", tmp_path / "dangling"
    victim.write_text("untouched")
    link.symlink_to(victim)
    dangling.symlink_to(tmp_path / "elsewhere")
    for path in (link, dangling):
        with pytest.raises(remit.KeyFileError):
            SAVES[kind](path)
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("step", ["fsync", "link", "fchmod"])
@pytest.mark.parametrize("kind", SAVES)
def test_a_write_that_is_interrupted_leaves_nothing_behind(
    kind: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for failure, raised in (
        (OSError(28, "No space left on device"), remit.KeyFileError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def fail(*args: object, failure: BaseException = failure) -> None:
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(raised):
                SAVES[kind](tmp_path / "key")
        assert list(tmp_path.iterdir()) == []
    SAVES[kind](tmp_path / "key")
    assert LOADS[kind](tmp_path / "key") is not None


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o644, 0o666, 0o777])
@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_file_that_others_can_get_at_is_not_loaded(kind: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    SAVES[kind](path)
    path.chmod(mode)
    with pytest.raises(remit.KeyFileError, match=f"mode {mode:04o}"):
        LOADS[kind](path)
    path.chmod(0o600)
    assert LOADS[kind](path) is not None


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_file_may_be_mounted_for_a_group_to_read(kind: str, tmp_path: Path) -> None:
    SAVES[kind](tmp_path / "key")
    for mode in (0o400, 0o440, 0o640):
        (tmp_path / "key").chmod(mode)
        assert LOADS[kind](tmp_path / "key") is not None


def test_an_anchor_that_anybody_can_replace_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    SAVES["anchor"](path)
    for mode in (0o646, 0o666, 0o777):
        path.chmod(mode)
        with pytest.raises(remit.KeyFileError):
            remit.TrustAnchor.load(path)


def test_an_anchor_file_holds_public_material_only(tmp_path: Path) -> None:
    issuer = remit.Issuer.generate(URI)
    issuer.anchor.save(tmp_path / "anchor")
    issuer.save(tmp_path / "key")
    members = json.loads((tmp_path / "anchor").read_text())
    assert members == {"issuer": URI, "jwk": issuer.anchor.jwk}
    assert set(members["jwk"]) == {"kty", "crv", "x"}
    pem = json.loads((tmp_path / "key").read_text())["private_key"]
    assert pem.splitlines()[1] not in (tmp_path / "anchor").read_text()
    loaded = remit.TrustAnchor.load(tmp_path / "anchor")
    assert loaded == issuer.anchor
    assert hash(loaded) == hash(issuer.anchor)
    assert URI in repr(loaded)


@pytest.mark.parametrize("member", ["d", "private_key"])
def test_an_anchor_with_private_material_is_refused(member: str, tmp_path: Path) -> None:
    anchor = remit.Issuer.generate(URI).anchor
    private = json.loads(remit.Issuer.generate(URI).issue("a", ["t"]).to_json())["holder_key"]
    if member == "d":
        with pytest.raises(remit.ConfigError, match="private"):
            remit.TrustAnchor(URI, private)
    path = tmp_path / "anchor"
    path.write_text(json.dumps({"issuer": URI, "jwk": private if member == "d" else {}, "private_key": "x"}))
    with pytest.raises(remit.KeyFileError):
        remit.TrustAnchor.load(path)
    assert "d" not in anchor.jwk


def test_an_issuer_comes_back_from_its_file_as_it_was(world: World, tmp_path: Path) -> None:
    issuer = remit.Issuer.generate(URI, clock=world.clock)
    issuer.save(tmp_path / "key")
    loaded = remit.Issuer.load(tmp_path / "key", max_ttl="1h", audit=world.audit, clock=world.clock)
    assert (loaded.uri, loaded.anchor) == (issuer.uri, issuer.anchor)
    guard = remit.Guard(trust=[issuer.anchor], clock=world.clock)
    assert verdict(lambda: guard.check(loaded.issue("a", ["t"]), "t", {})) == "allowed"
    assert len(world.events("issue")) == 1
    with pytest.raises(remit.ConfigError):
        loaded.issue("a", ["t"], ttl="2h")


def test_an_encrypted_key_opens_with_its_passphrase_and_with_nothing_else(tmp_path: Path) -> None:
    issuer = remit.Issuer.generate(URI)
    issuer.save(tmp_path / "key", passphrase=PASSPHRASE)
    assert "ENCRYPTED" in (tmp_path / "key").read_text()
    assert remit.Issuer.load(tmp_path / "key", passphrase=PASSPHRASE).anchor == issuer.anchor
    for wrong in (None, "wrong", PASSPHRASE + " ", PASSPHRASE.upper()):
        with pytest.raises(remit.KeyFileError) as caught:
            remit.Issuer.load(tmp_path / "key", passphrase=wrong)
        assert PASSPHRASE not in str(caught.value)
    issuer.save(tmp_path / "plain")
    with pytest.raises(remit.KeyFileError):  # a passphrase for a key that has none is a mistake
        remit.Issuer.load(tmp_path / "plain", passphrase=PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "  ", 5, b"bytes"])
def test_a_blank_passphrase_is_refused_and_nothing_is_written(passphrase: Any, tmp_path: Path) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Issuer.generate(URI).save(tmp_path / "key", passphrase=passphrase)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, x25519

    for key in (ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()):
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = tmp_path / "key"
        path.write_text(json.dumps({"issuer": URI, "private_key": pem.decode()}))
        path.chmod(0o600)
        with pytest.raises(remit.KeyFileError, match="not Ed25519"):
            remit.Issuer.load(path)


def test_a_saved_credential_comes_back_with_its_key_and_its_chain(world: World, tmp_path: Path) -> None:
    credential = world.issue(max_depth=1, ttl="1h").delegate("worker", ["tool:use"])
    credential.save(tmp_path / "credential")
    loaded = remit.Credential.load(tmp_path / "credential", clock=world.clock)
    assert (loaded.chain, loaded.agent, loaded.has_key) == (credential.chain, "worker", True)
    assert loaded.expires_at.timestamp() == NOW + 3_600
    assert verdict(lambda: world.guard.check(loaded, "tool:use", {})) == "allowed"


def test_a_credential_without_a_key_is_saved_without_one(world: World, tmp_path: Path) -> None:
    remit.Credential.from_token(world.issue().chain).save(tmp_path / "token")
    assert remit.Credential.load(tmp_path / "token").has_key is False
    assert _mode(tmp_path / "token") == 0o600

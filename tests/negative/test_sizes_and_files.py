"""Large input is turned away at the door, and files are read with suspicion."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import remit

from .junk import MEGABYTES_50, outcome

URI: Final = "https://auth.acme.example"
ISSUER: Final = remit.Issuer.generate(URI)
GUARD: Final = remit.Guard(trust=[ISSUER.anchor])
HOLDER: Final = ISSUER.issue(agent="a", capabilities=["t"], max_depth=1)
BOUND: Final = ISSUER.issue(agent="a", capabilities=["t"], session="s-1")
DOTTED: Final = "a." + MEGABYTES_50 + ".c"
LIKE_A_TOKEN: Final = HOLDER.token.rpartition(".")[0] + MEGABYTES_50 + "." + HOLDER.token.rpartition(".")[2]

LARGE: Final[dict[str, Callable[[str], object]]] = {
    "validate": GUARD.validate,
    "validate a list": lambda text: GUARD.validate([text]),
    "validate behind a good token": lambda text: GUARD.validate([HOLDER.token, text]),
    "verify": lambda text: GUARD.verify({"aat_chain": [text], "aat_pop": "a.b.c"}, "t", {}),
    "verify a proof": lambda text: GUARD.verify({"aat_chain": list(HOLDER.chain), "aat_pop": text}, "t", {}),
    "from_token": remit.Credential.from_token,
    "capability": lambda text: GUARD.check(HOLDER, text, {}),
    "session": lambda text: GUARD.check(BOUND, "t", {}, session=text),
    "agent": lambda text: ISSUER.issue(agent=text, capabilities=["t"]),
    "ttl": lambda text: ISSUER.issue(agent="a", capabilities=["t"], ttl=text),
}


@pytest.fixture
def peak() -> Iterator[Callable[[Callable[[], object]], int]]:
    """How many bytes a call held at most, beyond what was there before."""
    tracemalloc.start()

    def measure(call: Callable[[], object]) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before

    yield measure
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text", [MEGABYTES_50, DOTTED, LIKE_A_TOKEN], ids=["plain", "dotted", "like a token"]
)
@pytest.mark.parametrize("name", LARGE)
def test_fifty_megabytes_are_refused_without_being_copied(
    name: str, text: str, peak: Callable[[Callable[[], object]], int]
) -> None:
    """Sizes over 64 KiB a token or 256 KiB a chain are refused, before anything is decoded."""
    results: list[str] = []
    assert peak(lambda: results.append(outcome(lambda: LARGE[name](text)))) < 2_000_000
    assert results[0] in {"denied", "refused"}


def test_many_small_tokens_are_refused_without_being_read(
    peak: Callable[[Callable[[], object]], int],
) -> None:
    """Steps 1 and 2 come first."""
    tokens = [HOLDER.token] * 200_000
    results: list[str] = []

    def call() -> object:
        return GUARD.verify({"aat_chain": tokens, "aat_pop": "a.b.c"}, "t", {})

    assert peak(lambda: results.append(outcome(call))) < 5_000_000
    assert results == ["denied"]


LOADS: Final[dict[str, Callable[[Any], object]]] = {
    "issuer": remit.Issuer.load,
    "anchor": remit.TrustAnchor.load,
    "credential": remit.Credential.load,
}


def _saved(kind: str, folder: Path) -> Path:
    path = folder / kind
    {"issuer": ISSUER.save, "anchor": ISSUER.anchor.save, "credential": HOLDER.save}[kind](path)
    return path


CONTENTS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "an object": b"{}",
    "text": b'"x"',
    "NaN": b"NaN",
    "not JSON": b"not json at all",
    "not UTF-8": b"\xff\xfe\x00",
    "NUL": b"\x00" * 100,
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "large": b"x" * 5_000_000,
    "a surrogate": b'{"kty":"\\ud800"}',
    "a PEM key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "a key set": b'{"keys":[]}',
    "twice": b'{"a":1,"a":1}',
    "digits": b"9" * 10_000,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", LOADS)
def test_a_file_that_is_not_what_it_should_be_is_refused(kind: str, content: str, tmp_path: Path) -> None:
    """`KeyFileError` is a `RemitError` that is not a refusal."""
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[content])
    path.chmod(0o600)
    assert outcome(lambda: LOADS[kind](path)) in {"refused", "denied"}


@pytest.mark.parametrize("kind", LOADS)
def test_a_file_cut_off_or_changed_anywhere_is_refused_or_still_means_the_same(
    kind: str, tmp_path: Path
) -> None:
    """What is saved is loaded, and half of it is not."""
    good = _saved(kind, tmp_path).read_bytes()
    path = tmp_path / "cut"
    assert outcome(lambda: LOADS[kind](_saved(kind, _new(tmp_path)))) == "returned"
    step = max(1, len(good) // 200)
    for length in range(0, len(good.rstrip()), step):
        path.write_bytes(good[:length])
        path.chmod(0o600)
        assert outcome(lambda: LOADS[kind](path)) in {"refused", "denied"}, length
    for position in range(0, len(good), step):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x80]) + good[position + 1 :])
        path.chmod(0o600)
        assert outcome(lambda: LOADS[kind](path)) in {"refused", "denied"}, position


def _new(folder: Path) -> Path:
    made = folder / "new"
    made.mkdir()
    return made


@pytest.mark.parametrize("kind", LOADS)
def test_every_member_of_a_file_may_be_wrong(kind: str, tmp_path: Path) -> None:
    """Whatever stands where something else should, nothing but a `RemitError` comes out."""
    members = json.loads(_saved(kind, tmp_path).read_bytes())
    assert isinstance(members, dict)
    path = tmp_path / "changed"
    tried = 0
    for name in members:
        for wrong in (None, True, 1, "", "x", [], {}, [None], {"kty": "OKP"}, "\x00"):
            path.write_text(json.dumps({**members, name: wrong}), encoding="utf-8")
            path.chmod(0o600)
            assert outcome(lambda: LOADS[kind](path)) in {"returned", "refused", "denied"}
            tried += 1
    assert tried >= 10


@pytest.mark.parametrize("kind", LOADS)
def test_a_path_that_leads_nowhere_is_refused(kind: str, tmp_path: Path) -> None:
    """Nothing but a `RemitError` comes out, whatever the path."""
    for path in (
        tmp_path / "none",
        tmp_path,
        str(tmp_path / "none"),
        "",
        "\x00",
        "a\ud800",
        "x" * 5_000,
        MEGABYTES_50,
    ):
        with pytest.raises(remit.RemitError):
            LOADS[kind](path)
    for wrong in (None, 1.5, [], {}, object(), True, b"\xff", 10**9):
        assert outcome(partial(LOADS[kind], wrong)) in {"refused", "denied"}


@pytest.mark.parametrize("kind", LOADS)
def test_a_path_that_cannot_be_written_is_refused(kind: str, tmp_path: Path) -> None:
    """Nothing but a `RemitError` comes out, and nothing is overwritten."""
    save: Any = {"issuer": ISSUER.save, "anchor": ISSUER.anchor.save, "credential": HOLDER.save}[kind]
    for path in (tmp_path / "no" / "folder", tmp_path, "\x00", "", "x" * 5_000, None, 1.5, [], object()):
        with pytest.raises(remit.RemitError):
            save(path)


ENVIRONMENT: Final[dict[str, str | None]] = {
    "absent": None,
    "empty": "",
    "blank": "  ",
    "text": "token",
    "dots": "a.b.c",
    "JSON": '{"chain":[]}',
    "a list": "[]",
    "base64": "AAAA",
    "a number": "1",
    "half a token": HOLDER.token[:100],
    "a path": "/nonexistent/credential.json",
    "large": "x" * 100_000,
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_environment_without_a_credential_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token can be loaded from environment, file or command line; anything else cannot."""
    value = ENVIRONMENT[name]
    if value is None:
        monkeypatch.delenv("REMIT_CREDENTIAL", raising=False)
    else:
        monkeypatch.setenv("REMIT_CREDENTIAL", value)
    with pytest.raises(remit.RemitError):
        remit.Credential.from_env("REMIT_CREDENTIAL")
    monkeypatch.setenv("REMIT_CREDENTIAL", HOLDER.token)
    assert remit.Credential.from_env("REMIT_CREDENTIAL").agent == "a"

"""Keys rotate under load: no valid token is refused, and none is accepted of a key that is retired."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import remit
from remit.encoding import b64url_decode, parse_object

from .support import PATIENCE, PROGRAM, URI, Deployment, Serving, holder

pytestmark = pytest.mark.servers

_log: Final = logging.getLogger("figures")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A policy file, keys and a SQLite ledger, for both instances."""
    return Deployment.make(tmp_path / "service")


@pytest.fixture
def two(deployment: Deployment) -> Iterator[tuple[Serving, Serving]]:
    """Two instances that run."""
    with ExitStack() as stack:
        yield stack.enter_context(deployment.serve()), stack.enter_context(deployment.serve())


def keys(deployment: Deployment, *arguments: str) -> None:
    """Run `remit keys` on the machine of the service."""
    done = subprocess.run(
        [str(PROGRAM), "keys", *arguments],
        cwd=deployment.folder,
        env={**os.environ, **deployment.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def kid_of(token: str) -> str:
    """The key that has signed a token."""
    kid = parse_object(b64url_decode(token.split(".", maxsplit=1)[0]))["kid"]
    assert isinstance(kid, str)
    return kid


class Load:
    """Issues at one instance and verifies at the other, in turns; writes down every refusal."""

    def __init__(self, two: tuple[Serving, Serving], guards: list[remit.Guard]) -> None:
        self.two, self.guards = two, guards
        self.refused: list[str] = []
        self.tokens: dict[str, list[str]] = {}
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(at,)) for at in (0, 1)]

    def count(self, kid: str) -> int:
        """How many tokens of a key were issued and found good."""
        return len(self.tokens.get(kid, ()))

    def _run(self, at: int) -> None:
        key = holder()
        asked = {"subject_pubkey": key.public.x, "agent": "pricing-agent"}
        with self.two[at].client(headers=self.two[at].headers) as one, self.two[1 - at].client() as other:
            while not self.done.is_set():
                answer = one.post("/v1/tokens", json=asked)
                if answer.status_code != 200:
                    self.refused.append(answer.text)
                    continue
                token = str(answer.json()["token"])
                for client in (other, one):
                    self._verified(client, token)
                for guard in self.guards:
                    self._validated(guard, token)
                self.tokens.setdefault(kid_of(token), []).append(token)

    def _verified(self, client: httpx.Client, token: str) -> None:
        answer = client.post("/v1/tokens/verify", json={"token": token})
        if answer.status_code != 200:
            self.refused.append(answer.text)

    def _validated(self, guard: remit.Guard, token: str) -> None:
        try:
            guard.validate(token)
        except remit.Denied as denied:
            self.refused.append(str(denied))


class Stranger:
    """Sends the instances tokens with made-up keys, ten a second, and the guards one such token all the time."""

    def __init__(self, two: tuple[Serving, Serving], guards: list[remit.Guard]) -> None:
        self.two, self.guards = two, guards
        self.statuses: set[int] = set()
        self.sent = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run)

    @staticmethod
    def forged() -> str:
        """A token of somebody who says that it is the issuer."""
        return remit.Issuer.generate(URI).issue("a", ["prices:read"]).token

    def _run(self) -> None:
        same = self.forged()
        with self.two[0].client() as one, self.two[1].client() as other:
            while not self.done.wait(0.1):
                for client in (one, other):
                    answer = client.post("/v1/tokens/verify", json={"token": self.forged()})
                    self.statuses.add(answer.status_code)
                for guard in self.guards:
                    with suppress(remit.Denied):
                        guard.validate(same)
                        self.statuses.add(200)
                self.sent += 1


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def _kids(client: httpx.Client) -> list[str]:
    return [key["kid"] for key in client.get("/.well-known/jwks.json").json()["keys"]]


def test_a_rotation_under_load_refuses_nothing_and_a_retirement_everything(
    two: tuple[Serving, Serving], deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    follower = remit.Guard(
        trust=remit.RemoteAnchors(f"{two[1].url}/.well-known/jwks.json", issuer="https://auth.acme.example")
    )
    guards = [remit.Guard.from_config(deployment.path), follower]
    load, stranger = Load(two, guards), Stranger(two, guards)
    with two[0].client() as one, two[1].client() as other:
        [old] = _kids(one)
        for thread in (*load.threads, stranger.thread):
            thread.start()
        try:
            _until(lambda: load.count(old) >= 20 and stranger.sent >= 5)
            keys(deployment, "rotate")
            _until(lambda: sum(map(load.count, load.tokens.keys() - {old})) >= 20)
        finally:
            load.done.set()
            stranger.done.set()
            for thread in (*load.threads, stranger.thread):
                thread.join(PATIENCE)
        assert load.refused == []
        assert stranger.statuses == {401}
        [new] = load.tokens.keys() - {old}
        assert _kids(one) == _kids(other) == [new, old]

        last = [load.tokens[kid][-1] for kid in (old, new)]
        assert [one.post("/v1/tokens/verify", json={"token": t}).status_code for t in last] == [200, 200]
        keys(deployment, "retire", old, "--reason", "the rotation is over")
        for client in (one, other):
            _until(lambda client=client: _kids(client) == [new])  # type: ignore[misc]
            answers = [client.post("/v1/tokens/verify", json={"token": t}) for t in load.tokens[old]]
            assert {answer.status_code for answer in answers} == {401}
            assert client.post("/v1/tokens/verify", json={"token": last[1]}).status_code == 200
    counts = load.count(old), load.count(new)
    _log.warning("%d tokens of the old key and %d of the new one, none refused", *counts)


def test_a_stolen_key_is_stopped_at_once_and_signs_no_more(
    two: tuple[Serving, Serving], deployment: Deployment
) -> None:
    """The key that signs is revoked, as it was stolen: nobody accepts its tokens, and none is issued."""
    with two[0].client(headers=two[0].headers) as one, two[1].client(headers=two[1].headers) as other:
        asked = {"subject_pubkey": holder().public.x, "agent": "pricing-agent"}
        token = one.post("/v1/tokens", json=asked).json()["token"]
        keys(deployment, "retire", kid_of(token), "--force", "--reason", "stolen")
        for client in (one, other):
            answer = client.post("/v1/tokens/verify", json={"token": token})
            assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")
            assert client.post("/v1/tokens", json=asked).status_code == 503
            assert client.get("/readyz").status_code == 503
            assert _kids(client) == []
        keys(deployment, "rotate")
        for client in (one, other):
            answer = client.post("/v1/tokens", json=asked)
            assert answer.status_code == 200, answer.text
            assert kid_of(answer.json()["token"]) != kid_of(token)
            assert client.get("/readyz").status_code == 200

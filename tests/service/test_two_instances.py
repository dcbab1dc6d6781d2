"""Two instances behind one name, on one ledger: what one does, the other knows, and one may be killed at any time."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest

import remit
from remit.keys import HolderKey

from ..ledger.postgres_server import PostgresServer  # noqa: TID252 - the servers of another folder
from ..ledger.redis_server import RedisServer  # noqa: TID252 - as above
from .support import PATIENCE, URI, Deployment, Serving, credential_of, holder

pytestmark = pytest.mark.servers

ARGUMENTS: Final = {"symbol": "ACME", "amount": 5}
_log: Final = logging.getLogger("figures")


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the shared ledger is."""
    if request.param == "redis":
        with RedisServer(tmp_path_factory.mktemp("redis"), persistent=True) as server:
            yield server.url
        return
    postgres = PostgresServer()
    try:
        yield postgres.start().dsn()
    finally:
        postgres.remove()


@pytest.fixture(scope="module")
def deployment(url: str, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """One policy file and one set of keys, for both instances."""
    return Deployment.make(tmp_path_factory.mktemp("two") / "service", ledger=url)


@pytest.fixture(scope="module")
def two(deployment: Deployment) -> Iterator[tuple[Serving, Serving]]:
    """Two instances that run."""
    with ExitStack() as stack:
        yield stack.enter_context(deployment.serve()), stack.enter_context(deployment.serve())


@pytest.fixture
def doomed(two: tuple[Serving, Serving], deployment: Deployment) -> Iterator[tuple[Serving, Serving]]:
    """One more that runs, to be killed, and one of the two."""
    with deployment.serve() as third:
        yield third, two[1]


def issued(at: httpx.Client, headers: dict[str, str], key: HolderKey, **more: Any) -> dict[str, Any]:
    """What the service says of a token that it has just issued."""
    asked = {"subject_pubkey": key.public.x, "agent": "pricing-agent", **more}
    answer = at.post("/v1/tokens", json=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def verdict(at: httpx.Client, token: str) -> str:
    """What an instance says of a token: `good`, or the code of the denial."""
    answer = at.post("/v1/tokens/verify", json={"token": token})
    return "good" if answer.status_code == 200 else str(answer.json()["code"])


def test_what_one_has_issued_the_other_revokes_and_both_refuse(
    two: tuple[Serving, Serving], url: str
) -> None:
    first, second = two
    with first.client() as one, second.client() as other:
        took: list[float] = []
        for _ in range(20):
            token = issued(one, first.headers, holder())
            assert [verdict(at, token["token"]) for at in (one, other)] == ["good", "good"]
            told = other.delete(f"/v1/tokens/{token['token_id']}", headers=second.headers)
            revoked_at = time.perf_counter()
            assert told.status_code == 200
            assert verdict(other, token["token"]) == "token_revoked"
            while verdict(one, token["token"]) != "token_revoked":
                assert time.perf_counter() - revoked_at < PATIENCE, "it was never told"
            took.append(time.perf_counter() - revoked_at)
    _log.warning("%s: refused by the other after %.1f ms at most", url.partition(":")[0], max(took) * 1e3)


def test_a_proof_is_accepted_by_one_of_them_once(two: tuple[Serving, Serving]) -> None:
    first, second = two
    key = holder()
    with first.client() as one, second.client() as other:
        token = issued(one, first.headers, key)["token"]
        credential = credential_of(token, key)
        shown = credential.present("trades:propose", ARGUMENTS, audience=URI).to_dict()
        asked = {**shown, "tool": "trades:propose", "arguments": ARGUMENTS}
        assert one.post("/v1/tokens/verify", json=asked).status_code == 200
        for at in (other, one):
            again = at.post("/v1/tokens/verify", json=asked)
            assert (again.status_code, again.json()["code"]) == (401, "proof_replayed")


def test_one_limit_holds_for_both(two: tuple[Serving, Serving]) -> None:
    """The policy file allows three uses; twelve calls come at once, half of them to each."""
    key = holder()
    with two[0].client() as one, two[1].client() as other:
        credential = credential_of(issued(one, two[0].headers, key)["token"], key)

        def call(at: httpx.Client) -> int:
            shown = credential.present("trades:propose", ARGUMENTS, audience=URI).to_dict()
            asked = {**shown, "tool": "trades:propose", "arguments": ARGUMENTS}
            return at.post("/v1/tokens/verify", json=asked).status_code

        with ThreadPoolExecutor(12) as threads:
            statuses = sorted(threads.map(call, [one, other] * 6))
    assert statuses == [200] * 3 + [403] * 9


def test_a_nonce_of_one_is_good_at_the_other(two: tuple[Serving, Serving]) -> None:
    key = holder()
    with two[0].client() as one, two[1].client() as other:
        credential = credential_of(issued(one, two[0].headers, key)["token"], key)
        for nonce, status in ((one.get("/v1/nonce").json()["nonce"], 200), ("made-up", 401)):
            shown = credential.present("trades:propose", ARGUMENTS, audience=URI, nonce=nonce).to_dict()
            asked = {**shown, "tool": "trades:propose", "arguments": ARGUMENTS}
            assert other.post("/v1/tokens/verify", json=asked).status_code == status


class Load:
    """Clients that issue and revoke at two instances, and write down what they were told is done."""

    def __init__(self, two: tuple[Serving, Serving]) -> None:
        self.two = two
        self.issued: dict[str, str] = {}
        self.revoked: set[str] = set()
        self.unexpected: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Go on until told to stop. An instance that does not answer is left for the other."""
        at = 0
        clients = [serving.client() for serving in self.two]
        key = holder()
        try:
            while not self.done.is_set():
                try:
                    self._round(clients[at], key)
                except httpx.TransportError:
                    at = 1 - at
        finally:
            for client in clients:
                client.close()

    def _round(self, client: httpx.Client, key: HolderKey) -> None:
        headers = self.two[0].headers
        asked = {"subject_pubkey": key.public.x, "agent": "pricing-agent"}
        answer = client.post("/v1/tokens", json=asked, headers=headers)
        if answer.status_code != 200:
            self.unexpected.append(answer.text)
            return
        token_id = answer.json()["token_id"]
        self.issued[token_id] = answer.json()["token"]
        if len(self.issued) % 3 == 0:
            told = client.delete(f"/v1/tokens/{token_id}", headers=headers)
            if told.status_code == 200:
                self.revoked.add(token_id)
            else:
                self.unexpected.append(told.text)


def test_killing_one_in_mid_load_loses_nothing(doomed: tuple[Serving, Serving]) -> None:
    load = Load(doomed)
    threads = [threading.Thread(target=load.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    _until(lambda: len(load.issued) >= 60)
    doomed[0].stop(signal.SIGKILL)
    before = len(load.issued)
    _until(lambda: len(load.issued) >= before + 60)
    load.done.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not load.unexpected
    assert load.revoked
    listed: dict[str, bool] = {}
    with doomed[1].client(headers=doomed[1].headers) as other:
        page: dict[str, Any] = {"next": None}
        while True:
            query = {"limit": 500} | ({} if page["next"] is None else {"cursor": page["next"]})
            page = other.get("/v1/tokens", params=query).json()
            listed |= {token["token_id"]: token["revoked"] for token in page["tokens"]}
            if page["next"] is None:
                break
        assert load.issued.keys() <= listed.keys()
        assert {name for name in load.issued if listed[name]} >= load.revoked
        for token_id, token in load.issued.items():
            assert verdict(other, token) == ("token_revoked" if listed[token_id] else "good")
    _log.warning("%d issued, %d revoked, one instance killed", len(load.issued), len(load.revoked))


def _until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_neither_holds_the_token_nor_a_secret_in_the_ledger_or_a_log(
    two: tuple[Serving, Serving], deployment: Deployment
) -> None:
    """What was delivered is nowhere but with the agent."""
    key = holder()
    with two[0].client() as one:
        token = issued(one, two[0].headers, key)["token"]
        assert verdict(one, token) == "good"
    parts = [token, *token.split(".")[1:]]
    for file in deployment.folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not any(part.encode() in data for part in parts), file
            assert deployment.environment["REMIT_ADMIN_TOKEN"].encode() not in data, file


def test_a_guard_of_another_program_on_the_ledger_follows(
    two: tuple[Serving, Serving], deployment: Deployment, url: str
) -> None:
    anchors = [remit.TrustAnchor.load(path) for path in (deployment.folder / "anchors").glob("*.json")]
    ledger = remit.open_ledger(url)
    guard = remit.Guard(anchors, ledger=ledger)
    try:
        with two[0].client() as one:
            token = issued(one, two[0].headers, holder())
            assert guard.validate(token["token"]).agent == "pricing-agent"
            one.delete(f"/v1/tokens/{token['token_id']}", headers=two[0].headers)

            def refused() -> bool:
                try:
                    guard.validate(token["token"])
                except remit.TokenRejected as denied:
                    return denied.code == "token_revoked"
                return False

            _until(refused)
    finally:
        guard._enforcement.view.close()
        ledger.close()

"""A server whose every byte a test decides, and a service made of it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import remit
from remit.ledger import MemoryLedger

NOW: Final = 1_800_000_000
LATER: Final = 2**33
PATIENCE: Final = 30
JWKS: Final = "/.well-known/jwks.json"
METADATA: Final = "/.well-known/oauth-authorization-server"


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the target."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def members(self) -> Any:
        """The JSON that was sent."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """The form that was sent."""
        return {
            name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()
        }


@dataclass(frozen=True)
class Reply:
    """What the server sends: a proper response, or `raw` pieces, after which it hangs up."""

    status: int = 200
    kind: str = "application/json"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: Iterable[bytes] | None = None

    def pieces(self) -> Iterable[bytes]:
        """The bytes on the wire."""
        if self.raw is not None:
            return self.raw
        lines = [
            f"HTTP/1.1 {self.status} Said",
            f"content-type: {self.kind}",
            f"content-length: {len(self.body)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ["\r\n".join([*lines, "", ""]).encode() + self.body]


def as_json(members: Any, status: int = 200, **options: Any) -> Reply:
    """A reply of JSON."""
    return Reply(status, body=json.dumps(members).encode(), **options)


class Server:
    """Listens on this machine and says what `answer` says."""

    def __init__(self, answer: Callable[[Request], Reply], *, tls: Path | None = None) -> None:
        self.answer = answer
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls)
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [request.path for request in self.requests]

    def _listen(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError):
            if self._tls is None:
                self._talk(plain)
            else:
                with self._tls.wrap_socket(plain, server_side=True) as connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while (request := _read(stream)) is not None:
                self.requests.append(request)
                reply = self.answer(request)
                for piece in reply.pieces():
                    if self.ended.is_set():
                        return
                    connection.sendall(piece)
                if reply.raw is not None:
                    return

    def stop(self) -> None:
        """Hang up on everybody."""
        self.ended.set()
        for connection in [self._socket, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(PATIENCE)


def _read(stream: Any) -> Request | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(first[0], first[1], headers, stream.read(int(headers.get("content-length", 0))))


@contextmanager
def serving(answer: Callable[[Request], Reply], **options: Any) -> Generator[Server]:
    """A server for a block."""
    server = Server(answer, **options)
    try:
        yield server
    finally:
        server.stop()


def as_jwk(issuer: remit.Issuer | remit.TrustAnchor) -> dict[str, Any]:
    """The key of an issuer as a service publishes it."""
    anchor = issuer.anchor if isinstance(issuer, remit.Issuer) else issuer
    return {**anchor.jwk, "use": "sig", "alg": "Ed25519", "kid": anchor.key.thumbprint}


class FakeService:
    """A service as an attacker would write it: right by default, and wrong wherever a test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = MemoryLedger()
        self.published: list[Any] = []
        self.twist: Callable[[dict[str, Any]], dict[str, Any]] = lambda page: page
        """Applied to each page of the feed before it is signed."""
        self.replies: dict[str, Callable[[Request], Reply]] = {}
        """Path to what is said instead of the usual."""
        self.server = Server(self.say)
        self.issuer = remit.Issuer.generate(self.url, clock=self.clock, ledger=self.ledger)
        self.published.append(as_jwk(self.issuer))

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self.server.url

    def say(self, request: Request) -> Reply:
        """What is said to a request."""
        usual = {METADATA: self.metadata, JWKS: self.jwks, "/v1/revocations": self.page}
        found = self.replies.get(request.path) or usual.get(request.path)
        return (
            as_json({"code": "not_found", "reason": "Nothing is here."}, 404)
            if found is None
            else found(request)
        )

    def metadata(self, request: Request) -> Reply:
        """The metadata."""
        return as_json({"issuer": self.url, "jwks_uri": f"{self.url}{JWKS}"})

    def jwks(self, request: Request) -> Reply:
        """The keys."""
        return as_json({"keys": self.published}, kind="application/jwk-set+json")

    def page(self, request: Request) -> Reply:
        """A page of the feed."""
        since, limit = int(request.query["since"]), int(request.query["limit"])
        found = self.ledger.changes(since, limit)
        page = {
            "iat": int(self.clock()),
            "since": since,
            "store": found.position.store,
            "number": found.position.number,
            "more": len(found.entries) >= limit,
            "entries": [list(entry) for entry in found.entries],
            "nonce": request.query["nonce"],
        }
        return Reply(kind="application/jwt", body=self.issuer.publish(self.twist(page)).encode())

    def rotate(self) -> remit.Issuer:
        """Sign with another key from now on, which is published before; the old issuer."""
        old, new = self.issuer, remit.Issuer.generate(self.url, clock=self.clock, ledger=self.ledger)
        self.published = [as_jwk(new), *self.published]
        self.issuer = new
        return old

    def revoke(self, **what: Any) -> None:
        """Revoke a token, an agent or a key, as the service's ledger has it."""
        self.ledger.revoke([remit.Revocation(revoked_at=self.clock(), expires_at=LATER, **what)])

    def issue(self, agent: str = "agent-a", capability: str = "tool:use", **options: Any) -> remit.Credential:
        """A credential."""
        return self.issuer.issue(agent, [capability], **options)


def checked(guard: remit.Guard, credential: remit.Credential, capability: str = "tool:use") -> str:
    """What a guard says of a call without arguments."""
    return verdict(lambda: guard.check(credential, capability, {}))


def verdict(call: Callable[[], object]) -> str:
    """`allowed`, or the code of the refusal."""
    try:
        call()
    except remit.Denied as denied:
        return denied.code
    return "allowed"

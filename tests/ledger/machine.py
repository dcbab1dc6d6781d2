"""A state machine: whatever is asked in whatever order, a ledger answers as `MemoryLedger` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from remit.errors import Denied
from remit.ledger import Charge, Ledger, LiveToken, MemoryLedger, Revocation
from remit.proof import Proof

_START: Final = 1_704_067_500
_STEPS: Final = (-90_000, -61, -1, -0.5, 0, 0.25, 1, 30, 60, 301, 3_600, 86_400, 90_001)
_NAMES: Final = ("a", "b", "A", "é:%", "\U0001f511")
_COUNTERS: Final = {
    # the ceiling, the window, the seconds until its token expires
    "once": (1, None, 600),
    "sum": (10, None, 90_000),
    "rate-1": (1, 60, 600),
    "rate-3": (3, 60, 90_000),
    "vast": (2**53 - 1, None, 600),
}
_charges: Final = st.lists(
    st.tuples(st.sampled_from(sorted(_COUNTERS)), st.sampled_from((0, 1, 2, 9, 2**52))), max_size=4
)


def _said(call: Callable[[], object]) -> object:
    try:
        return call()
    except Denied as denied:
        return denied.to_dict()


def _charge(name: str, amount: int) -> Charge:
    ceiling, window, lives = _COUNTERS[name]
    amount = 1 if window is not None else amount
    return Charge(name, amount, ceiling, window, _START + lives, 0, "tool:use", f"the limit {name}")


class LedgerMachine(RuleBasedStateMachine):
    """One store through one or more ledger objects, beside the model."""

    def __init__(self, reopen: Callable[[], Ledger]) -> None:
        super().__init__()
        self.reopen = reopen
        self.opened = [reopen()]
        self.ledger = self.opened[0]
        self.model = MemoryLedger()
        self.now: float = _START
        self.latest: float = _START
        self.proofs: list[Proof] = []
        self.since = 0
        self.followed: dict[str, tuple[int, float | None]] = {}

    def both(self, ask: Callable[[Ledger], object]) -> object:
        """What both say."""
        said = _said(lambda: ask(self.ledger))
        assert said == _said(lambda: ask(self.model))
        return said

    @rule(step=st.sampled_from(_STEPS))
    def let_time_pass(self, step: float) -> None:
        self.now = max(self.now + step, _START - 200_000)
        self.latest = max(self.latest, self.now)

    @rule(
        entries=st.lists(
            st.tuples(
                st.sampled_from(("token_id", "agent", "key")),
                st.sampled_from(_NAMES),
                st.sampled_from((-100_000, 0, 60, 600, 90_000)),
                st.sampled_from((None, "why")),
            ),
            max_size=4,
        )
    )
    def revoke(self, entries: list[tuple[str, str, int, str | None]]) -> None:
        said = [
            Revocation(
                revoked_at=self.now,
                expires_at=int(self.now) + lives,
                issued_until=self.now + 30 if kind == "agent" else None,
                reason=reason,
                **{kind: name},
            )
            for kind, name, lives, reason in entries
        ]
        self.both(lambda ledger: ledger.revoke(said))

    @rule(charges=_charges, fresh=st.sampled_from((None, 1, 301, 3_600)))
    def commit(self, charges: list[tuple[str, int]], fresh: int | None) -> None:
        """A proof that nobody has seen, and that no clock so far has seen expire, or none."""
        proof = fresh and Proof(f"p-{len(self.proofs)}", int(self.latest) + 1 + fresh)
        made = [_charge(*each) for each in charges]
        said = self.both(lambda ledger: ledger.commit(made, proof or None, self.now))
        if proof and said is None:
            self.proofs.append(proof)

    @precondition(lambda self: self.proofs)
    @rule(charges=_charges, data=st.data())
    def replay(self, charges: list[tuple[str, int]], data: Any) -> None:
        proof = data.draw(st.sampled_from(self.proofs))
        made = [_charge(*each) for each in charges]
        said = self.both(lambda ledger: ledger.commit(made, proof, self.now))
        assert said is not None

    @rule(charges=_charges)
    def probe(self, charges: list[tuple[str, int]]) -> None:
        made = [_charge(*each) for each in charges]
        self.both(lambda ledger: ledger.probe(made, self.now))

    @rule(
        name=st.sampled_from(_NAMES),
        lives=st.sampled_from((-100_000, 0, 60, 600, 600, 90_000)),
        capabilities=st.lists(st.sampled_from(_NAMES), max_size=2),
        session=st.sampled_from((None, "s")),
    )
    def enroll(self, name: str, lives: int, capabilities: list[str], session: str | None) -> None:
        token = LiveToken(
            token_id=name,
            agent="agent",
            issuer="urn:issuer",
            holder="thumb",
            issued_at=int(self.now),
            expires_at=int(self.now) + lives,
            capabilities=tuple(capabilities),
            session=session,
            revoked_with=tuple(f"token:{each}" for each in capabilities),
        )
        self.both(lambda ledger: ledger.enroll(token))

    @rule(limit=st.sampled_from((1, 2, 100)), data=st.data())
    def tokens(self, limit: int, data: Any) -> None:
        before = data.draw(st.sampled_from([None, *self.model.tokens(0)]))
        self.both(lambda ledger: ledger.tokens(self.now, limit=limit, before=before))
        self.both(lambda ledger: [ledger.token(name) for name in _NAMES])

    @rule()
    def purge(self) -> None:
        """How many proofs were forgotten before is a ledger's own affair."""
        least = _without_proofs(self.model, self.now)
        most = self.model.purge(self.now) + len(self.proofs)
        assert least <= self.ledger.purge(self.now) <= most

    @rule()
    def use_another_object(self) -> None:
        self.opened.append(self.reopen())
        self.ledger = self.opened[-1]

    @rule(data=st.data())
    def go_back_to_an_older_object(self, data: Any) -> None:
        self.ledger = data.draw(st.sampled_from(self.opened))

    @rule()
    def close(self) -> None:
        self.ledger.close()

    @rule(limit=st.sampled_from((1, 2, 100)))
    def follow(self, limit: int) -> None:
        """Whoever has followed from the start knows what who reads everything now does."""
        while True:
            page = self.ledger.changes(self.since, limit)
            assert page.position.number >= self.since
            self.since = page.position.number
            self.followed.update({subject: (expiry, until) for subject, expiry, until in page.entries})
            if len(page.entries) < limit:
                break
        for subject, expiry, until in self.model.changes(0).entries:
            assert self.followed[subject] == (expiry, until)

    def teardown(self) -> None:
        for ledger in self.opened:
            ledger.close()

    @invariant()
    def they_tell_the_same(self) -> None:
        self.both(lambda ledger: ledger.revocations())
        self.both(lambda ledger: [tuple(entry) for entry in ledger.changes(0).entries])
        assert self.ledger.position() == self.ledger.changes(0).position
        assert self.ledger.position().number >= self.since


def _without_proofs(ledger: MemoryLedger, now: float) -> int:
    """How many entries that are no proofs a purge would remove."""
    limit = now - 86_400
    counters = [counter.expires_at for counter in ledger._counters.values()]
    tokens = [token.expires_at for token in ledger._tokens.values()]
    revoked = [entry.expires_at for entry in ledger.revocations()]
    return sum(expires_at <= limit for expires_at in (*counters, *tokens, *revoked))


def run_machine(new_store: Callable[[], Callable[[], Ledger]], examples: int) -> None:
    """Run the machine so many times, each time on a store of its own."""

    class Machine(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(new_store())

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

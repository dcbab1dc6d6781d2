"""What every ledger must do: the suite that the tests of each ledger inherit.

A test class derives from `LedgerContract` and says in one fixture, `new_store`, how an empty store is made.
What that returns opens one more ledger object on the same store, as often as it is called; what was opened
is closed after the test. `examples` says how many runs of the state machine its store is quick enough for.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, ParamSpec, TypeAlias

import pytest

from remit.errors import Denied, LimitExceeded
from remit.ledger import NEVER, PURGE_MARGIN, Change, Charge, Ledger, LiveToken, Revocation
from remit.proof import Proof

from .machine import run_machine
from .threads import together

P = ParamSpec("P")

NOW: Final = 1_704_067_500
DAY: Final = 86_400
LARGEST: Final = 2**53 - 1

Opener: TypeAlias = Callable[[], Ledger]
"""Opens one more ledger object on one store."""
NewStore: TypeAlias = Callable[[], Opener]
"""Makes an empty store."""

ODD_NAMES: Final = (
    "plain",
    "Plain",
    "plain ",
    " plain",
    "with:colon",
    "token:with",
    "per%cent",
    "under_score",
    "star*[a]?",
    "quote'\"`",
    "back\\slash",
    "{braces}",
    "semi;-- colon",
    "caf\u00e9",
    "cafe\u0301",
    "\u540d\u524d",
    "\U0001f511",
    "\ufb01",
    "tab\there",
    "line\nbreak",
    "\x01\x1f\x7f",
    "x" * 256,
    "\U0001f511" * 256,
    "0",
    "1e3",
    "NULL",
)


def of_token(name: str = "t-1", **fields: Any) -> Revocation:
    """The revocation of a token."""
    usual: dict[str, Any] = {"revoked_at": NOW, "expires_at": NOW + 600}
    return Revocation(token_id=name, **(usual | fields))


def of_agent(name: str = "a-1", **fields: Any) -> Revocation:
    """The revocation of an agent."""
    usual: dict[str, Any] = {"revoked_at": NOW, "expires_at": NOW + 600, "issued_until": NOW + 30}
    return Revocation(agent=name, **(usual | fields))


def of_key(name: str = "k-1", **fields: Any) -> Revocation:
    """The revocation of a key."""
    usual: dict[str, Any] = {"revoked_at": NOW, "expires_at": NEVER}
    return Revocation(key=name, **(usual | fields))


def charge(counter: str = "c", ceiling: int = 1, **fields: Any) -> Charge:
    """One charge: a use, unless an `amount` or a `window` says otherwise."""
    usual: dict[str, Any] = {"amount": 1, "window": None, "expires_at": NOW + 600, "link": 0}
    usual |= {"capability": "tool:use", "limit": "it", **fields}
    return Charge(counter=counter, ceiling=ceiling, **usual)


def proof(key: str = "p", expires_at: int = NOW + 301) -> Proof:
    """A proof that was verified."""
    return Proof(key, expires_at)


def live(name: str = "t-1", **fields: Any) -> LiveToken:
    """The metadata of a token."""
    usual: dict[str, Any] = {"agent": "a-1", "issuer": "https://auth.acme.example", "holder": "thumb"}
    usual |= {"issued_at": NOW, "expires_at": NOW + 600, "revoked_with": ("key:k", "agent:é"), **fields}
    return LiveToken(token_id=name, **usual)


def outcome(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    """`done`, or the code of the refusal."""
    try:
        call(*args, **kwargs)
    except Denied as denied:
        return denied.code
    return "done"


def commit_to(
    ledgers: Sequence[Ledger], charges: Sequence[Charge], proof: Proof | None, now: float, number: int
) -> str:
    """What one of several ledger objects, the threads taking turns, says to a commit."""
    return outcome(ledgers[number % len(ledgers)].commit, charges, proof, now)


def subjects(entries: Iterable[Change | tuple[str, int, float | None]]) -> list[str]:
    """What changes are about."""
    return [entry[0] for entry in entries]


def followed(ledger: Ledger, since: int = 0, limit: int = 3) -> list[tuple[str, int, float | None]]:
    """All changes after `since`, read page by page."""
    found: list[tuple[str, int, float | None]] = []
    while True:
        page = ledger.changes(since, limit)
        found += [(subject, expires_at, until) for subject, expires_at, until in page.entries]
        assert page.position.number >= since
        since = page.position.number
        if len(page.entries) < limit:
            return found


def pages(ledger: Ledger, now: float, limit: int) -> list[str]:
    """The identifiers of all live tokens, read page by page."""
    found: list[str] = []
    before: LiveToken | None = None
    while page := ledger.tokens(now, limit=limit, before=before):
        assert len(page) <= limit
        found += [token.token_id for token in page]
        before = page[-1]
    return found


class LedgerContract:
    """Inherit this, and override `new_store`."""

    examples: ClassVar[int] = 25
    """Runs of the state machine."""

    @pytest.fixture
    def new_store(self) -> NewStore:
        """How an empty store is made."""
        raise NotImplementedError

    @pytest.fixture
    def stores(self, new_store: NewStore) -> Iterator[NewStore]:
        """As `new_store`; what is opened is closed in the end."""
        opened: list[Ledger] = []

        def tracked() -> Opener:
            opener = new_store()

            def opening() -> Ledger:
                opened.append(opener())
                return opened[-1]

            return opening

        yield tracked
        for ledger in opened:
            ledger.close()

    @pytest.fixture
    def reopen(self, stores: NewStore) -> Opener:
        """One more ledger object on the store of `ledger`."""
        return stores()

    @pytest.fixture
    def ledger(self, reopen: Opener) -> Ledger:
        """An empty ledger."""
        return reopen()

    # ── revocations ─────────────────────────────────────────────────────────────────────────────────────────

    def test_a_new_ledger_is_empty(self, ledger: Ledger) -> None:
        assert ledger.position().number == 0
        assert ledger.position().store
        assert list(ledger.changes(0).entries) == []
        assert ledger.changes(0).position == ledger.position()
        assert ledger.revocations() == []
        assert ledger.token("t-1") is None
        assert ledger.tokens(NOW) == []
        assert ledger.purge(NOW + 10 * DAY) == 0

    @pytest.mark.parametrize(
        "entry",
        [
            of_token(),
            of_token(reason="lost"),
            of_token(reason=""),
            of_token(reason="\x00\n\t'\"%\U0001f511".replace("\x00", "")),
            of_token(revoked_at=NOW + 0.123456, expires_at=NEVER),
            of_token(revoked_at=0, expires_at=0),
            of_agent(),
            of_agent(revoked_at=NOW + 0.1, issued_until=NOW + 30.1),
            of_agent(reason="r" * 1000),
            of_key(),
        ],
        ids=lambda entry: f"{entry.subject}-{entry.reason and entry.reason[:4]!r}-{entry.revoked_at}",
    )
    def test_what_was_revoked_is_told_as_it_was_said(
        self, ledger: Ledger, reopen: Opener, entry: Revocation
    ) -> None:
        assert ledger.revoke([entry]) == [True]
        for each in (ledger, reopen()):
            assert each.revocations() == [entry]
            [change] = each.changes(0).entries
            assert tuple(change) == (entry.subject, entry.expires_at, entry.issued_until)
            assert type(change[1]) is int

    def test_doing_it_again_is_no_news_and_changes_nothing(self, ledger: Ledger) -> None:
        for entry in (of_token(reason="lost"), of_agent(), of_key()):
            assert ledger.revoke([entry]) == [True]
            before = ledger.position(), ledger.revocations()
            assert ledger.revoke([entry]) == [False]
            assert (ledger.position(), ledger.revocations()) == before

    def test_of_a_token_the_first_reason_and_the_latest_expiry_are_kept(self, ledger: Ledger) -> None:
        ledger.revoke([of_token(reason="first")])
        position = ledger.position()
        assert ledger.revoke([of_token(reason="second", revoked_at=NOW + 5, expires_at=NOW + 900)]) == [False]
        [entry] = ledger.revocations()
        assert entry == of_token(reason="first", expires_at=NOW + 900)
        assert ledger.position().number > position.number  # a guard must know how long to remember it
        assert [tuple(change) for change in ledger.changes(position.number).entries] == [
            ("token:t-1", NOW + 900, None)
        ]

    def test_a_revocation_is_never_shortened(self, ledger: Ledger) -> None:
        ledger.revoke([of_token(expires_at=NOW + 900), of_agent(issued_until=NOW + 50, expires_at=NOW + 900)])
        before = ledger.position(), ledger.revocations()
        assert ledger.revoke([of_token(expires_at=NOW + 1)]) == [False]
        assert ledger.revoke([of_agent(issued_until=NOW - 50, revoked_at=NOW - 80, expires_at=0)]) == [False]
        assert (ledger.position(), ledger.revocations()) == before

    def test_an_agent_is_revoked_anew_when_tokens_were_issued_since(self, ledger: Ledger) -> None:
        assert ledger.revoke([of_agent(reason="first")]) == [True]
        again: dict[str, Any] = {
            "revoked_at": NOW + 30,
            "issued_until": NOW + 60,
            "reason": "within the time that clocks differ",
        }
        assert ledger.revoke([of_agent(**again)]) == [False]
        [entry] = ledger.revocations()
        assert (entry.reason, entry.revoked_at, entry.issued_until) == ("first", NOW, NOW + 60)
        later = of_agent(revoked_at=NOW + 61, issued_until=NOW + 91, reason="later", expires_at=NOW + 1)
        assert ledger.revoke([later]) == [True]
        [entry] = ledger.revocations()
        assert (entry.reason, entry.revoked_at, entry.issued_until) == ("later", NOW + 61, NOW + 91)
        assert entry.expires_at == NOW + 600

    def test_a_key_is_revoked_once_and_for_ever(self, ledger: Ledger) -> None:
        assert ledger.revoke([of_key(), of_key(revoked_at=NOW + DAY)]) == [True, False]
        [entry] = ledger.revocations()
        assert (entry.revoked_at, entry.issued_until, entry.expires_at) == (NOW, None, NEVER)
        assert ledger.purge(NOW + 10_000 * DAY) == 0
        assert ledger.revocations() == [entry]

    def test_a_list_is_taken_in_order(self, ledger: Ledger) -> None:
        said = [of_token("a"), of_token("b"), of_token("a"), of_agent("a"), of_key("a"), of_token("b")]
        assert ledger.revoke(said) == [True, True, False, True, True, False]
        assert subjects(ledger.changes(0).entries) == ["token:a", "token:b", "agent:a", "key:a"]

    def test_revoking_nothing_does_nothing(self, ledger: Ledger) -> None:
        before = ledger.position()
        assert ledger.revoke([]) == []
        assert ledger.position() == before

    @pytest.mark.parametrize("bad", [of_token("\ud800"), None], ids=["surrogate", "none"])
    def test_a_list_is_revoked_wholly_or_not_at_all(self, ledger: Ledger, bad: Any) -> None:
        try:
            ledger.revoke([of_token("good"), bad, of_token("other")])
        except Exception:  # noqa: BLE001 - whatever it raises for what cannot be kept
            assert ledger.revocations() == []
            assert ledger.position().number == 0
        else:
            assert len(ledger.revocations()) == 3
        with suppress(Exception):
            ledger.revoke([of_token("good"), bad])
        assert ledger.revoke([of_token("last")]) == [True]

    def test_kinds_of_one_name_are_different_things(self, ledger: Ledger) -> None:
        for entry in (of_token("x"), of_agent("x"), of_key("x"), of_token("agent:x"), of_agent("token:x")):
            assert ledger.revoke([entry]) == [True]
        assert len(ledger.revocations()) == 5

    def test_no_name_is_taken_for_another_or_lost(self, ledger: Ledger, reopen: Opener) -> None:
        assert ledger.revoke([of_token(name) for name in ODD_NAMES]) == [True] * len(ODD_NAMES)
        assert ledger.revoke([of_agent(name) for name in ODD_NAMES]) == [True] * len(ODD_NAMES)
        assert reopen().revoke([of_token(name) for name in ODD_NAMES]) == [False] * len(ODD_NAMES)
        listed = ledger.revocations()[::-1]
        assert [entry.token_id for entry in listed[: len(ODD_NAMES)]] == list(ODD_NAMES)
        assert [entry.agent for entry in listed[len(ODD_NAMES) :]] == list(ODD_NAMES)
        assert subjects(followed(ledger)) == [entry.subject for entry in listed]

    def test_revocations_are_listed_newest_first_whatever_their_time(self, ledger: Ledger) -> None:
        for number, time in enumerate((NOW, NOW + 50, NOW - 50, NOW)):
            ledger.revoke([of_token(f"t-{number}", revoked_at=time)])
        ledger.revoke([of_token("t-1", expires_at=NOW + 900)])  # a change makes it the newest
        names = ["t-1", "t-3", "t-2", "t-0"]
        assert [entry.token_id for entry in ledger.revocations()] == names
        for limit in (0, 1, 3, 4, 5):
            assert [entry.token_id for entry in ledger.revocations(limit)] == names[:limit]

    # ── following ───────────────────────────────────────────────────────────────────────────────────────────

    def test_changes_are_told_oldest_first_and_page_by_page(self, ledger: Ledger) -> None:
        names = [f"token:t-{number}" for number in range(7)]
        ledger.revoke([of_token(f"t-{number}") for number in range(7)])
        for limit in (1, 2, 3, 6, 7, 8):
            assert subjects(followed(ledger, limit=limit)) == names
        first = ledger.changes(0, 3)
        assert subjects(first.entries) == names[:3]
        assert first.position.number < ledger.position().number
        assert subjects(ledger.changes(first.position.number, 3).entries) == names[3:6]
        assert ledger.changes(0, 7).position == ledger.position()

    def test_who_has_read_everything_is_told_nothing_until_there_is_more(self, ledger: Ledger) -> None:
        for number in range(3):
            position = ledger.position()
            assert ledger.changes(position.number) == (position, ledger.changes(position.number).entries)
            assert len(ledger.changes(position.number).entries) == 0
            ledger.revoke([of_token(f"t-{number}")])
            assert subjects(ledger.changes(position.number).entries) == [f"token:t-{number}"]

    def test_who_has_read_more_than_there_is_learns_where_the_ledger_stands(self, ledger: Ledger) -> None:
        ledger.revoke([of_token()])
        page = ledger.changes(ledger.position().number + 1_000)
        assert (page.position, len(page.entries)) == (ledger.position(), 0)

    def test_what_changes_again_is_told_again_and_once(self, ledger: Ledger) -> None:
        ledger.revoke([of_agent("a"), of_token("t")])
        position = ledger.position()
        ledger.revoke([of_agent("a", revoked_at=NOW + 100, issued_until=NOW + 130)])
        assert subjects(followed(ledger, position.number)) == ["agent:a"]
        assert subjects(followed(ledger)) == ["token:t", "agent:a"]
        assert ledger.changes(0).entries[-1][2] == NOW + 130

    def test_a_page_read_while_more_is_revoked_leaves_nothing_out(self, ledger: Ledger) -> None:
        ledger.revoke([of_token(f"t-{number}") for number in range(5)])
        first = ledger.changes(0, 2)
        ledger.revoke([of_token("t-5"), of_token("t-0", expires_at=NOW + 900)])
        rest = followed(ledger, first.position.number)
        assert subjects(first.entries) == ["token:t-0", "token:t-1"]
        assert subjects(rest) == ["token:t-2", "token:t-3", "token:t-4", "token:t-5", "token:t-0"]

    def test_the_position_never_goes_back_also_when_everything_is_purged(
        self, ledger: Ledger, reopen: Opener
    ) -> None:
        ledger.revoke([of_token("a"), of_token("b")])
        before = ledger.position()
        assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 2
        assert ledger.position() == before
        assert reopen().position() == before
        assert ledger.changes(0).position == before
        assert ledger.revoke([of_token("a")]) == [True]
        assert ledger.position().number > before.number
        assert subjects(ledger.changes(before.number).entries) == ["token:a"]

    def test_a_store_has_a_name_of_its_own_and_keeps_it(
        self, ledger: Ledger, reopen: Opener, stores: NewStore
    ) -> None:
        name = ledger.position().store
        ledger.revoke([of_token()])
        assert ledger.position().store == ledger.changes(0).position.store == name
        assert reopen().position().store == name
        assert stores()().position().store != name

    def test_two_ledgers_on_one_store_see_each_other(self, ledger: Ledger, reopen: Opener) -> None:
        other = reopen()
        ledger.revoke([of_token("a")])
        assert other.position() == ledger.position()
        assert other.revoke([of_token("a"), of_token("b")]) == [False, True]
        assert other.position() == ledger.position()
        assert subjects(ledger.changes(0).entries) == ["token:a", "token:b"]
        ledger.commit([charge()], proof(), NOW)
        assert outcome(other.commit, [charge()], None, NOW) == "limit_exceeded"
        assert outcome(other.commit, [], proof(), NOW) == "proof_replayed"
        other.enroll(live())
        assert ledger.token("t-1") == live()
        assert other.purge(NOW + 600 + PURGE_MARGIN) == 5
        assert (ledger.revocations(), ledger.tokens(0)) == ([], [])

    def test_many_revocations_at_once(self, ledger: Ledger) -> None:
        names = [f"t-{number:05}" for number in range(3_000)]
        assert all(ledger.revoke([of_token(name) for name in names]))
        assert subjects(followed(ledger, limit=999)) == [f"token:{name}" for name in names]
        assert [entry.token_id for entry in ledger.revocations(2)] == names[:-3:-1]
        assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 3_000

    # ── counters ────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_counter_is_charged_to_its_ceiling_and_no_further(self, ledger: Ledger) -> None:
        for _ in range(3):
            ledger.commit([charge("c", 3)], None, NOW)
        assert outcome(ledger.commit, [charge("c", 3)], None, NOW) == "limit_exceeded"
        assert outcome(ledger.commit, [charge("c", 3)], None, NOW + 10**6) == "limit_exceeded"
        assert outcome(ledger.commit, [charge("d", 3)], None, NOW) == "done"

    def test_amounts_add_up_exactly(self, ledger: Ledger) -> None:
        spend = [
            (LARGEST - 3, "done"),
            (4, "limit_exceeded"),
            (3, "done"),
            (0, "done"),
            (1, "limit_exceeded"),
        ]
        for amount, expected in spend:
            charges = [charge("c", LARGEST, amount=amount)]
            assert outcome(ledger.probe, charges, NOW) == expected
            assert outcome(ledger.commit, charges, None, NOW) == expected
        for amount in (LARGEST, LARGEST - 1, 2):
            charges = [charge("c", LARGEST, amount=amount)]
            assert outcome(ledger.commit, charges, None, NOW) == "limit_exceeded"

    def test_more_than_the_ceiling_at_once_leaves_no_trace(self, ledger: Ledger) -> None:
        assert outcome(ledger.commit, [charge("c", 5, amount=6)], None, NOW) == "limit_exceeded"
        assert ledger.purge(NOW + 10 * DAY) == 0
        assert outcome(ledger.commit, [charge("c", 5, amount=5)], None, NOW) == "done"

    def test_the_refusal_is_that_of_the_first_charge_without_room(self, ledger: Ledger) -> None:
        ledger.commit([charge("b"), charge("c")], None, NOW)
        charges = [
            charge("a"),
            charge("b", link=1, capability="b:use", limit="the one use"),
            charge("c", link=2, capability="c:use"),
        ]
        for ask in (partial(ledger.commit, charges, None, NOW), partial(ledger.probe, charges, NOW)):
            with pytest.raises(LimitExceeded) as caught:
                ask()
            assert caught.value.to_dict() == {
                "code": "limit_exceeded",
                "reason": "You have used up the one use of 'b:use'.",
                "capability": "b:use",
                "link": 1,
            }

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_all_counters_are_charged_or_none(self, ledger: Ledger, place: int) -> None:
        ledger.commit([charge("full")], None, NOW)
        others = [charge("sum", 10, amount=10), charge("rate", 1, window=60)]
        charges = [*others[:place], charge("full"), *others[place:]]
        for _ in range(2):
            assert outcome(ledger.commit, charges, proof(), NOW) == "limit_exceeded"
        assert outcome(ledger.commit, others, proof(), NOW) == "done"
        assert ledger.purge(NOW + 10 * DAY) == 4

    def test_a_question_charges_nothing(self, ledger: Ledger) -> None:
        charges = [charge("c", 1), charge("r", 1, window=60), charge("s", 5, amount=5)]
        for _ in range(3):
            assert outcome(ledger.probe, charges, NOW) == "done"
        assert ledger.purge(NOW + 10 * DAY) == 0
        ledger.commit(charges, None, NOW)
        for each in charges:
            assert outcome(ledger.probe, [each], NOW) == "limit_exceeded"
        assert outcome(ledger.probe, [], NOW) == "done"

    def test_one_counter_twice_in_one_call_holds_no_more(self, ledger: Ledger) -> None:
        cases = [
            ([charge("c", 3, amount=2)] * 2, [charge("c", 3, amount=1), charge("c", 3, amount=2)]),
            ([charge("r", 2, window=60)] * 3, [charge("r", 2, window=60)] * 2),
        ]
        for too_much, just_right in cases:
            assert outcome(ledger.probe, too_much, NOW) == "limit_exceeded"
            assert outcome(ledger.commit, too_much, None, NOW) == "limit_exceeded"
            assert outcome(ledger.commit, just_right, None, NOW) == "done"
            assert outcome(ledger.commit, just_right[:1], None, NOW) == "limit_exceeded"
        late = [charge("r", 2, window=60)]
        assert outcome(ledger.commit, late * 3, None, NOW + 60) == "limit_exceeded"
        assert outcome(ledger.commit, late * 2, None, NOW + 60) == "done"

    def test_no_counter_is_taken_for_another(self, ledger: Ledger) -> None:
        for name in ODD_NAMES:
            assert outcome(ledger.commit, [charge(name)], None, NOW) == "done"
        for name in ODD_NAMES:
            assert outcome(ledger.probe, [charge(name)], NOW) == "limit_exceeded"

    def test_charging_nothing_does_nothing(self, ledger: Ledger) -> None:
        ledger.commit([], None, NOW)
        assert ledger.purge(NOW + 10 * DAY) == 0

    # ── rates ───────────────────────────────────────────────────────────────────────────────────────────────

    def uses(self, ledger: Ledger, ceiling: int, window: int, times: Sequence[float]) -> list[bool]:
        """Whether a use at each of the times is let in; a question before says the same."""
        charges = [charge("r", ceiling, window=window)]
        said: list[bool] = []
        for now in times:
            asked = outcome(ledger.probe, charges, now)
            assert outcome(ledger.commit, charges, None, now) == asked
            said.append(asked == "done")
        return said

    def test_a_rate_slides(self, ledger: Ledger) -> None:
        times = [0, 30, 30, 30, 59.9, 60, 60, 90, 90, 90, 119.999, 120]
        said = [True, True, True, False, False, True, False, True, True, False, False, True]
        assert self.uses(ledger, 3, 60, [NOW + time for time in times]) == said

    def test_the_edges_of_a_window_are_exact(self, ledger: Ledger) -> None:
        start = NOW + 0.123457
        times = [start, start + 60 - 0.000_002, start + 60, start + 60, start + 120 - 0.000_002, start + 120]
        assert self.uses(ledger, 1, 60, times) == [True, False, True, False, False, True]

    def test_a_rate_goes_round_many_times(self, ledger: Ledger) -> None:
        times = [NOW + turn * 10 + step for turn in range(12) for step in (0, 1, 2, 3)]
        assert self.uses(ledger, 3, 10, times) == [True, True, True, False] * 12

    def test_a_clock_that_jumps_ahead_and_back_gives_no_more_uses(self, ledger: Ledger) -> None:
        assert self.uses(ledger, 2, 60, [NOW, NOW]) == [True, True]
        assert self.uses(ledger, 2, 60, [NOW + 3_600]) == [True]
        # One of the first two is remembered still, and the other was made in the future.
        assert self.uses(ledger, 2, 60, [NOW + 1, NOW + 59, NOW - 10_000]) == [False, False, False]

    def test_a_clock_that_steps_back_gives_no_more_uses(self, ledger: Ledger) -> None:
        times = [NOW + 30, NOW, NOW + 60, NOW + 89.9, NOW + 90]
        assert self.uses(ledger, 1, 60, times) == [True, False, False, False, True]

    def test_a_use_counts_from_the_latest_time_that_was_seen(self, ledger: Ledger) -> None:
        assert self.uses(ledger, 2, 60, [NOW + 100, NOW, NOW + 159, NOW + 160]) == [True, True, False, True]
        assert self.uses(ledger, 2, 60, [NOW + 160, NOW + 160]) == [True, False]

    def test_a_use_made_while_the_clock_was_back_counts_as_long_as_the_one_before(
        self, ledger: Ledger
    ) -> None:
        times = [NOW + 100, NOW, NOW + 160, NOW + 70, NOW + 159, NOW + 160]
        assert self.uses(ledger, 2, 60, times) == [True, True, True, False, False, True]

    def test_also_after_the_clock_has_gone_on_once(self, ledger: Ledger) -> None:
        times = [NOW, NOW + 100, NOW, NOW + 160, NOW + 160, NOW + 70, NOW + 160]
        assert self.uses(ledger, 3, 60, times) == [True, True, True, True, True, False, True]

    def test_a_rate_of_many_uses(self, ledger: Ledger) -> None:
        charges = [charge("r", 100_000, window=7_776_000)]
        for _ in range(3):
            ledger.commit(charges, None, NOW)
        ledger.probe(charges, NOW)
        assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 1

    # ── proofs ──────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_proof_is_accepted_once(self, ledger: Ledger, reopen: Opener) -> None:
        ledger.commit([], proof(), NOW)
        for each in (ledger, reopen()):
            assert outcome(each.commit, [], proof(), NOW) == "proof_replayed"
        assert outcome(ledger.commit, [], proof("other"), NOW) == "done"

    def test_a_replay_charges_nothing_and_is_named_before_the_limits(self, ledger: Ledger) -> None:
        ledger.commit([], proof(), NOW)
        assert outcome(ledger.commit, [charge()], proof(), NOW) == "proof_replayed"
        ledger.commit([charge()], None, NOW)
        assert outcome(ledger.commit, [charge()], proof(), NOW) == "proof_replayed"

    def test_a_proof_of_a_call_that_was_refused_is_not_used_up(self, ledger: Ledger) -> None:
        ledger.commit([charge()], None, NOW)
        assert outcome(ledger.commit, [charge()], proof(), NOW) == "limit_exceeded"
        assert outcome(ledger.commit, [charge("d")], proof(), NOW) == "done"
        assert outcome(ledger.commit, [charge("e")], proof(), NOW) == "proof_replayed"

    def test_no_proof_is_taken_for_another(self, ledger: Ledger) -> None:
        for name in ODD_NAMES:
            assert outcome(ledger.commit, [], proof(name), NOW) == "done"
        for name in ODD_NAMES:
            assert outcome(ledger.commit, [], proof(name), NOW) == "proof_replayed"

    @pytest.mark.parametrize("purged", [False, True])
    def test_no_clock_makes_a_proof_good_again(self, ledger: Ledger, purged: bool) -> None:
        ledger.commit([], proof("old", NOW + 301), NOW)
        if purged:
            assert ledger.purge(NOW + 301) == 1
            assert ledger.purge(NOW + 301) == 0
        for step, now in enumerate((NOW + 301, NOW + 10 * DAY, NOW, NOW - DAY)):
            ledger.commit([], proof(f"new-{step}", int(now) + 20 * DAY), now)
            assert outcome(ledger.commit, [], proof("old", NOW + 301), now) == "proof_replayed"

    def test_proofs_that_are_forgotten_a_few_at_a_time_stay_used(self, ledger: Ledger) -> None:
        old = [proof(f"old-{number}", NOW + 100 + number * 7 % 30) for number in range(30)]
        for each in old:
            ledger.commit([], each, NOW)
        for step in range(10):
            ledger.commit([], proof(f"new-{step}", NOW + 5_000), NOW + 1_000)
            assert {outcome(ledger.commit, [], each, NOW) for each in old} == {"proof_replayed"}

    def test_a_proof_that_would_be_forgotten_by_now_is_taken_for_used(self, ledger: Ledger) -> None:
        ledger.commit([], proof("a", NOW + 301), NOW)
        ledger.purge(NOW + 301)
        assert outcome(ledger.commit, [], proof("b", NOW + 301), NOW) == "proof_replayed"
        assert outcome(ledger.commit, [], proof("c", NOW + 302), NOW) == "done"

    def test_a_proof_is_remembered_to_its_last_second(self, ledger: Ledger) -> None:
        ledger.commit([], proof("a", NOW + 301), NOW)
        assert ledger.purge(NOW + 300.999) == 0
        assert ledger.purge(NOW + 301) == 1

    def test_proofs_are_forgotten_in_any_order(self, ledger: Ledger) -> None:
        for number, expires_at in enumerate((NOW + 900, NOW + 300, NOW + 600)):
            ledger.commit([], proof(f"p-{number}", expires_at), NOW)
        assert [ledger.purge(NOW + after) for after in (300, 600, 900)] == [1, 1, 1]

    def test_proofs_do_not_pile_up_where_nobody_purges(self, ledger: Ledger) -> None:
        for number in range(40):
            now = NOW + number * 400
            ledger.commit([], proof(f"p-{number}", now + 301), now)
        assert ledger.purge(NOW + 40 * 400) <= 3

    # ── purging ─────────────────────────────────────────────────────────────────────────────────────────────

    def test_purge_keeps_what_expired_within_the_margin(self, ledger: Ledger) -> None:
        ledger.revoke([of_token("a"), of_agent("b"), of_token("c", expires_at=NOW + 601)])
        ledger.commit([charge("u"), charge("r", 5, window=60)], None, NOW)
        ledger.commit([charge("u2", expires_at=NOW + 601), charge("r", 5, window=60)], None, NOW)
        ledger.enroll(live("a"))
        ledger.enroll(live("c", expires_at=NOW + 601))
        edge = NOW + 600 + PURGE_MARGIN
        assert ledger.purge(edge - 0.001) == 0
        assert ledger.purge(edge) == 5
        assert [entry.token_id for entry in ledger.revocations()] == ["c"]
        assert (ledger.token("a"), ledger.token("c")) == (None, live("c", expires_at=NOW + 601))
        assert outcome(ledger.commit, [charge("u2")], None, NOW) == "limit_exceeded"
        assert ledger.purge(edge) == 0
        assert ledger.purge(edge + 1) == 3
        assert ledger.purge(edge + 10 * DAY) == 0

    def test_what_was_purged_can_come_again(self, ledger: Ledger) -> None:
        ledger.revoke([of_token()])
        ledger.commit([charge(), charge("r", 1, window=60)], None, NOW)
        assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 3
        assert ledger.revoke([of_token()]) == [True]
        assert outcome(ledger.commit, [charge(), charge("r", 1, window=60)], None, NOW) == "done"

    def test_a_revocation_that_was_put_off_is_purged_when_it_says_now(self, ledger: Ledger) -> None:
        ledger.revoke([of_token()])
        ledger.revoke([of_token(expires_at=NOW + DAY)])
        assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 0
        assert ledger.purge(NOW + DAY + PURGE_MARGIN) == 1

    # ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize(
        "token",
        [
            live(),
            live(capabilities=("a:read", "b:write")),
            live(session="s-1", task="t-1", capabilities=('it\'s "quoted", [1]', "\u540d:\U0001f511")),
            live("\U0001f511" * 256, agent="%", issuer="urn:x", holder="", session=""),
            live(issued_at=0, expires_at=NEVER),
        ],
        ids=lambda token: f"{token.token_id[:4]!a}-{len(token.capabilities)}-{token.session}",
    )
    def test_the_metadata_of_a_token_comes_back_as_it_went_in(
        self, ledger: Ledger, reopen: Opener, token: LiveToken
    ) -> None:
        ledger.enroll(token)
        for each in (ledger, reopen()):
            assert each.token(token.token_id) == token
            assert each.tokens(NOW) == [token]

    def test_enrolling_again_replaces(self, ledger: Ledger) -> None:
        ledger.enroll(live(expires_at=NOW + 900, session="s"))
        ledger.enroll(live(agent="other", expires_at=NOW + 300))
        assert ledger.tokens(NOW) == [live(agent="other", expires_at=NOW + 300)]
        assert ledger.tokens(NOW + 300) == []
        assert ledger.purge(NOW + 300 + PURGE_MARGIN) == 1
        assert ledger.token("t-1") is None

    def test_tokens_are_listed_longest_life_first_then_by_identifier(self, ledger: Ledger) -> None:
        for name in ODD_NAMES:
            ledger.enroll(live(name))
        for number in range(5):
            ledger.enroll(live(f"t-{number}", expires_at=NOW + 100 * number))
        by_name = sorted(ODD_NAMES, reverse=True)
        assert [token.token_id for token in ledger.tokens(NOW)] == [*by_name, "t-4", "t-3", "t-2", "t-1"]
        assert [token.token_id for token in ledger.tokens(NOW + 300)] == [*by_name, "t-4"]
        assert [token.token_id for token in ledger.tokens(NOW + 299.999, limit=100)][-1] == "t-3"
        assert ledger.tokens(NOW + 600) == []

    def test_pages_of_tokens_leave_nothing_out_and_repeat_nothing(self, ledger: Ledger) -> None:
        for number in range(23):
            ledger.enroll(live(f"t-{number:02}", expires_at=NOW + 600 + number // 5))
        everything = [token.token_id for token in ledger.tokens(NOW)]
        assert len(everything) == 23
        for limit in (1, 4, 5, 22, 23, 24):
            assert pages(ledger, NOW, limit) == everything
        assert ledger.tokens(NOW, limit=0) == []

    def test_a_page_goes_on_from_its_last_token_also_when_that_is_gone(self, ledger: Ledger) -> None:
        for number in range(6):
            ledger.enroll(live(f"t-{number}"))
        first = ledger.tokens(NOW, limit=2)
        ledger.enroll(live("t-4", expires_at=NOW + 1))  # the last of the first page moves away
        ledger.enroll(live("t-9"))  # and another comes before it
        assert [token.token_id for token in first] == ["t-5", "t-4"]
        rest = ledger.tokens(NOW, before=first[-1])
        assert [token.token_id for token in rest] == ["t-3", "t-2", "t-1", "t-0", "t-4"]

    # ── threads ─────────────────────────────────────────────────────────────────────────────────────────────

    def test_of_64_threads_one_gets_the_one_use(self, ledger: Ledger, reopen: Opener) -> None:
        ledgers = [ledger, reopen()]
        for turn in range(3):
            charges = [charge(f"once-{turn}"), charge(f"parent-{turn}", 100)]
            said = together(partial(commit_to, ledgers, charges, None, NOW), 64)
            assert (said.count("done"), said.count("limit_exceeded")) == (1, 63)

    def test_of_64_threads_one_uses_the_proof(self, ledger: Ledger, reopen: Opener) -> None:
        ledgers = [ledger, reopen()]
        said = together(partial(commit_to, ledgers, [], proof(), NOW), 64)
        assert (said.count("done"), said.count("proof_replayed")) == (1, 63)

    def test_siblings_spend_what_their_parent_has_and_no_more(self, ledger: Ledger, reopen: Opener) -> None:
        ledgers = [ledger, reopen()]

        def spend(sibling: int) -> int:
            charges = [charge(f"child-{sibling}", 1_000, amount=7), charge("parent", 1_000, amount=7)]
            tries = [outcome(ledgers[sibling % 2].commit, charges, None, NOW) for _ in range(25)]
            return 7 * tries.count("done")

        assert sum(together(spend, 8)) == 994  # 142 times 7, the most that fits
        assert outcome(ledger.probe, [charge("parent", 1_000, amount=6)], NOW) == "done"
        assert outcome(ledger.probe, [charge("parent", 1_000, amount=7)], NOW) == "limit_exceeded"

    def test_a_rate_holds_among_threads(self, ledger: Ledger, reopen: Opener) -> None:
        ledgers = [ledger, reopen()]
        charges = [charge("r", 10, window=60)]
        for now in (NOW, NOW + 60):
            said = together(partial(commit_to, ledgers, charges, None, now), 32)
            assert (said.count("done"), said.count("limit_exceeded")) == (10, 22)

    def test_of_many_who_revoke_the_same_one_brings_news(self, ledger: Ledger, reopen: Opener) -> None:
        ledgers = [ledger, reopen()]
        said = together(lambda n: ledgers[n % 2].revoke([of_token("a"), of_token(f"t-{n}")]), 20)
        assert sum(first for first, _ in said) == 1
        assert all(second for _, second in said)
        assert len(ledger.revocations()) == 21

    def test_who_follows_while_others_revoke_misses_nothing(self, ledger: Ledger, reopen: Opener) -> None:
        """Changes are numbered in the order in which they can be read."""
        writers, each = 6, 15
        ledgers = [ledger, reopen(), reopen()]

        def work(number: int) -> list[str]:
            if number < writers:
                for step in range(each):
                    ledgers[number % 2].revoke([of_token(f"{number}-{step}"), of_token(f"{number}-{step}+")])
                return []
            seen: list[str] = []
            since = 0
            for _ in range(100_000):
                page = ledgers[2].changes(since, 7)
                assert page.position.number >= since
                since = page.position.number
                seen += subjects(page.entries)
                if len(seen) >= writers * each * 2:
                    break
            return seen

        seen = together(work, writers + 1)[-1]
        assert len(seen) == len(set(seen)) == writers * each * 2
        assert sorted(seen) == sorted(entry.subject for entry in ledger.revocations())

    # ── objects ─────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_ledger_that_was_closed_opens_again_when_it_is_used(self, ledger: Ledger) -> None:
        ledger.revoke([of_token("a")])
        ledger.commit([charge()], proof(), NOW)
        ledger.enroll(live())
        for _ in range(2):
            ledger.close()
            ledger.close()
            assert [entry.token_id for entry in ledger.revocations()] == ["a"]
            assert outcome(ledger.commit, [charge()], None, NOW) == "limit_exceeded"
            assert outcome(ledger.commit, [], proof(), NOW) == "proof_replayed"
            assert ledger.token("t-1") == live()

    def test_a_refusal_leaves_the_ledger_usable(self, ledger: Ledger) -> None:
        ledger.commit([charge()], None, NOW)
        for _ in range(20):
            assert outcome(ledger.commit, [charge()], proof(), NOW) == "limit_exceeded"
        assert ledger.revoke([of_token()]) == [True]
        assert outcome(ledger.commit, [charge("d")], proof(), NOW) == "done"

    def test_a_ledger_is_not_pickled(self, ledger: Ledger) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(ledger)

    def test_it_does_what_the_ledger_in_memory_does(self, stores: NewStore) -> None:
        run_machine(stores, self.examples)

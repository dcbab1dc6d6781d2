"""The delegation graph: what is derived from what, how it stands, and where it is drawn."""

from __future__ import annotations

import itertools
import re

import pytest

import remit
from remit.ledger import LiveToken
from remit.record import AuditRecord
from remit.service.console.forest import Forest
from remit.service.console.picture import MOST, Picture, chosen
from remit.service.console.registry import Registry

from .support import Clock, Console


def seen(*chain: str, at: float = 0, agent: str | None = None, code: str | None = None) -> AuditRecord:
    """The record of a decision under a chain."""
    return AuditRecord(
        event="decision", at=at, allowed=code is None, chain=chain, token_id=chain[-1], agent=agent, code=code
    )


def states(console: Console, *records: AuditRecord) -> dict[str, str]:
    """How the tokens of records and of the ledger stand."""
    registry = Registry(console.instance)
    forest = Forest([each.token for each in registry.tokens(100).holdings], records)
    nodes, _ = chosen(forest.roots())
    forest.settle(nodes, registry)
    return {node.token_id: node.state for node in nodes}


def test_chains_become_a_forest() -> None:
    forest = Forest([], [seen("a", "b", "c", agent="worker"), seen("a", "d"), seen("e")])
    assert {node.token_id: [child.token_id for child in node.children] for node in forest.nodes.values()} == {
        "a": ["b", "d"],
        "b": ["c"],
        "c": [],
        "d": [],
        "e": [],
    }
    assert forest.nodes["a", "b", "c"].agent == "worker"
    assert forest.nodes["a", "b"].agent is None
    assert [node.token_id for node in forest.nodes["a", "b", "c"].lineage()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "chains",
    [
        [("a", "a")],
        [("a", "b"), ("b", "a")],
        [("a", "b", "c"), ("c", "a")],
        [("a", "b"), ("c", "b")],
        [("a", "b", "a")],
    ],
    ids=str,
)
def test_chains_that_contradict_one_another_make_no_circle(chains: list[tuple[str, ...]]) -> None:
    forest = Forest([], [seen(*chain) for chain in chains])
    for node in forest.nodes.values():
        assert len(list(node.family())) <= len(forest.nodes)
        assert len(node.lineage()) <= len(forest.nodes)
        assert sum(node in other.children for other in forest.nodes.values()) <= 1
    assert len(list(itertools.chain.from_iterable(root.family() for root in forest.roots()))) == len(
        forest.nodes
    )


def test_a_chain_without_end_is_not_followed_to_its_end() -> None:
    forest = Forest([], [seen(*map(str, range(10_000)))])
    assert len(forest.nodes) == 32


def test_calls_and_denials_are_counted_once() -> None:
    outcome = AuditRecord(event="outcome", at=3, allowed=True, chain=("a",), token_id="a")
    secret = AuditRecord(
        event="secret", at=2, allowed=False, chain=("a",), token_id="a", code="secret_denied"
    )
    node = Forest([], [outcome, secret, seen("a", at=1), seen("a", code="not_bound")]).nodes[("a",)]
    assert (node.calls, node.denials, node.last_code, node.last_seen) == (2, 2, None, 3)


def test_how_tokens_stand(signed_in: Console, clock: Clock) -> None:
    live = signed_in.issue("live").token_id
    revoked = signed_in.issue("revoked").token_id
    of_agent = signed_in.issue("agent").token_id
    over = signed_in.issue("over", ttl="1m").token_id
    signed_in.instance.guard.revoke(revoked)
    signed_in.instance.guard.revoke("middle")
    signed_in.instance.guard.revoke_agent("agent")
    signed_in.instance.guard.revoke_agent("sub")
    clock.now += 61
    now = clock.now
    found = states(
        signed_in,
        seen(live, "middle", "last", at=now),
        seen(live, "sibling", at=now),
        seen(live, "before", at=now - 61, agent="sub"),
        seen(live, "later", at=now, agent="sub"),
        seen(live, "over-child", at=now, code="token_expired"),
        seen(live, "told", at=now, code="token_revoked"),
        seen(revoked, "child", at=now),
        seen(over, "orphan", at=now),
        seen("foreign", "guest", at=now),
    )
    assert found == {
        live: "live",
        "middle": "revoked",
        "last": "revoked",
        "sibling": "live",
        "before": "revoked",
        "later": "live",
        "over-child": "expired",
        "told": "revoked",
        revoked: "revoked",
        "child": "revoked",
        of_agent: "revoked",
        over: "expired",
        "orphan": "expired",
        "foreign": "unknown",
        "guest": "unknown",
    }


def exchanged(token_id: str, *before: str, agent: str = "narrower", origin: str = "root") -> LiveToken:
    """What the ledger keeps of a token that was exchanged for a chain."""
    subjects = (f"agent:{origin}", *(f"token:{each}" for each in before))
    return LiveToken(
        token_id=token_id,
        agent=agent,
        issuer="https://auth.acme.example",
        holder="h",
        issued_at=1,
        expires_at=4_000_000_000,
        revoked_with=subjects,
    )


def issue(*chain: str) -> AuditRecord:
    """The record of a token that was issued for others."""
    return AuditRecord(event="issue", at=1, allowed=True, chain=chain, token_id=chain[-1])


@pytest.mark.parametrize("told", ["ledger", "log"])
def test_an_exchanged_token_hangs_below_what_it_was_exchanged_for(told: str) -> None:
    tokens = [exchanged("n", "a", "x"), exchanged("m", "a", "x", "n")] if told == "ledger" else []
    records = [] if told == "ledger" else [issue("a", "x", "n", "m"), issue("a", "x", "n")]
    forest = Forest(tokens, [seen("m", "y"), seen("n", "z"), *records])
    places = {("a",), ("a", "x"), ("a", "x", "n"), ("a", "x", "n", "m"), ("a", "x", "n", "m", "y")}
    assert set(forest.nodes) == {*places, ("a", "x", "n", "z")}
    assert {node.token_id for node in forest.nodes.values() if node.is_issued} == {"a", "n", "m"}


def test_an_exchanged_token_ends_with_what_it_was_exchanged_for(signed_in: Console) -> None:
    root = signed_in.issue("root", ttl="1h")
    signed_in.instance.ledger.enroll(exchanged("n", root.token_id))
    assert states(signed_in)["n"] == "live"
    signed_in.instance.guard.revoke(root.token_id)
    assert states(signed_in)["n"] == "revoked"


def test_who_takes_anothers_identifier_is_at_a_place_of_its_own(signed_in: Console) -> None:
    boss, rogue = signed_in.issue("boss").token_id, signed_in.issue("rogue").token_id
    signed_in.instance.ledger.enroll(exchanged("n", boss))
    taken = [seen(rogue, stolen, code="token_revoked") for stolen in (boss, "worker", "n")]
    tokens = [each.token for each in Registry(signed_in.instance).tokens(9).holdings]
    forest = Forest(tokens, [*taken, seen(boss, "worker", agent="worker"), seen("n", "child")])
    forest.settle(chosen(forest.roots())[0], Registry(signed_in.instance))
    found = {node.trace: (node.state, node.is_inferred, node.denials) for node in forest.nodes.values()}
    assert found == {
        (boss,): ("live", False, 0),
        (boss, "worker"): ("live", True, 0),
        (boss, "n"): ("live", False, 0),
        (boss, "n", "child"): ("live", True, 0),
        (rogue,): ("live", False, 0),
        (rogue, boss): ("revoked", True, 1),
        (rogue, "worker"): ("revoked", True, 1),
        (rogue, "n"): ("revoked", True, 1),
    }
    assert [node.trace for node in forest.places("n")] == [(boss, "n"), (rogue, "n")]


def test_an_identifier_that_was_revoked_is_so_at_every_place(signed_in: Console) -> None:
    signed_in.instance.guard.revoke("taken")
    forest = Forest([], [seen("a", "taken"), seen("b", "taken")])
    forest.settle(chosen(forest.roots())[0], Registry(signed_in.instance))
    assert [(node.state, node.is_inferred) for node in forest.places("taken")] == [("revoked", False)] * 2


def test_only_what_an_issuer_said_is_taken_for_a_name_of_its_giving() -> None:
    forest = Forest(
        [exchanged("r", agent="rogue", origin="rogue"), exchanged("n", "r", origin="rogue")],
        [seen("r", "x", agent="pricing-agent"), seen("r", "x", "y"), seen("n", "z"), seen("q", "w")],
    )
    assert {trace: node.named_by for trace, node in forest.nodes.items()} == {
        ("r",): None,
        ("r", "x"): "named by rogue",
        ("r", "x", "y"): "named by somebody after rogue",
        ("r", "n"): "named by rogue",
        ("r", "n", "z"): "named by somebody after rogue",
        ("q",): None,
        ("q", "w"): "named by whoever passed it on",
    }


def test_no_box_covers_another_and_every_line_joins_two() -> None:
    chains = [("r", *(f"{i}" for i in branch)) for branch in itertools.product(range(3), range(3, 6))]
    chains += [("r", "0", "3", "deep", "deeper"), ("alone",), ("alone2",), ("s", "t")]
    forest = Forest([], [seen(*chain) for chain in chains])
    nodes, left_out = chosen(forest.roots())
    picture = Picture.of(nodes, "deep")
    assert left_out == 0
    places = {(box.x, box.y) for box in picture.boxes}
    assert len(places) == len(picture.boxes) == len(forest.nodes)
    for one, two in itertools.combinations(picture.boxes, 2):
        assert abs(one.x - two.x) >= picture.box_width or abs(one.y - two.y) >= picture.box_height
    assert all(0 <= box.x <= picture.width - picture.box_width for box in picture.boxes)
    assert all(0 <= box.y <= picture.height - picture.box_height for box in picture.boxes)
    assert len(picture.lines) == sum(node.parent is not None for node in nodes)
    assert [box.node.token_id for box in picture.boxes if box.is_focus] == ["deep"]
    listed = [node for root in picture.roots for node in root.family()]
    assert len(listed) == len(set(listed)) == len(picture.boxes)


def test_a_picture_of_nothing_has_nothing_in_it() -> None:
    picture = Picture.of([])
    assert (picture.boxes, picture.lines, picture.roots) == ([], [], [])


def test_a_picture_is_bounded_and_says_what_it_leaves_out(signed_in: Console) -> None:
    root = signed_in.issue("root").token_id
    for i in range(MOST + 10):
        signed_in.record(chain=(root, f"child-{i:03}"), token_id=f"child-{i:03}", agent=f"worker-{i:03}")
    text = signed_in.get("/console/graph").text
    assert text.count('<a class="node ') == MOST
    assert "11 more tokens are not drawn" in text
    alone = signed_in.get("/console/graph?agent=worker-007").text
    assert alone.count('<a class="node ') == MOST


def test_the_graph_says_the_same_as_a_picture_and_as_a_list(signed_in: Console) -> None:
    root = signed_in.issue("planner", max_depth=2)
    child = root.delegate(agent="worker", capabilities=["prices:read"], max_depth=1)
    leaf = child.delegate(agent="helper", capabilities=["prices:read"])
    signed_in.issue("elsewhere")
    assert signed_in.call(leaf, "prices:read") is None
    assert signed_in.call(leaf, "mail:send") == "capability_missing"
    text = signed_in.get("/console/graph").text
    drawn = re.findall(r'<a class="node (\w+)[^"]*" href="[^"]*id=([^"]+)" aria-label="([^"]+)"', text)
    assert {(token_id, state) for state, token_id, _ in drawn} >= {
        (root.token_id, "live"),
        (child.token_id, "live"),
        (leaf.token_id, "live"),
    }
    assert any(
        said.startswith(f"helper (named by somebody after planner), token {leaf.token_id}, live as inferred")
        and "1 call denied" in said
        for *_, said in drawn
    )
    assert any(said.startswith(f"agent not known, token {child.token_id}") for *_, said in drawn)
    assert any(said.startswith("planner, token") for *_, said in drawn)
    assert text.count('<path class="line live"') == 2
    listed = text.split('<ul class="tree">')[1]
    assert set(re.findall(r'id=([^"]+)" title', listed)) == {token_id for _, token_id, _ in drawn}
    own = signed_in.get("/console/graph?agent=helper").text
    assert own.count('<a class="node ') == 3
    assert "No token of this agent is known." in signed_in.get("/console/graph?agent=nobody").text


def test_a_wrong_chain_adds_nothing_to_the_graph(signed_in: Console) -> None:
    stranger = remit.Issuer.generate("https://evil.example").issue(
        agent="thief", capabilities=["prices:read"]
    )
    assert signed_in.call(stranger, "prices:read") == "token_issuer_untrusted"
    assert "thief" not in signed_in.get("/console/graph").text

"""Feeds where a guard trusts several issuers: whose word counts for what."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import remit
from remit.remote.feed import RevocationFeed

from .support import FakeService, verdict

OTHER = "https://other.example"


@pytest.fixture
def other(service: FakeService) -> remit.Issuer:
    """An issuer that the guard trusts as well."""
    return remit.Issuer.generate(OTHER, clock=service.clock)


@pytest.fixture
def feed(service: FakeService, other: remit.Issuer) -> Iterator[RevocationFeed]:
    """The service's feed, of which a guard reads that trusts both."""
    made = follow(service, [service.issuer.anchor, other.anchor])
    yield made
    made.close()


def follow(service: FakeService, trust: Any) -> RevocationFeed:
    return RevocationFeed(service.url, trust=trust, clock=service.clock)


def known(feed: RevocationFeed) -> set[str]:
    """What a feed knows, having asked."""
    feed.position()
    return {entry.subject for entry in feed.revocations()}


def key_of(issuer: remit.Issuer) -> str:
    return issuer.anchor.key.thumbprint


def test_a_feed_revokes_no_key_of_another_issuer(
    service: FakeService, feed: RevocationFeed, other: remit.Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    guard = remit.Guard(trust=[service.issuer.anchor, other.anchor], ledger=feed, clock=service.clock)
    credential = other.issue("a", ["tool:use"])
    service.revoke(token_id="before")
    service.revoke(key=key_of(other), reason="spite")
    service.revoke(token_id="after")
    with caplog.at_level(logging.WARNING, "remit"):
        assert known(feed) == {"token:before", "token:after"}
        service.ledger.revoke([remit.Revocation(revoked_at=1, expires_at=2**34, key=key_of(other))])
        service.revoke(token_id="last")
        assert known(feed) == {"token:before", "token:after", "token:last"}
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"
    assert [message for message in caplog.messages if key_of(other) in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_feed_revokes_the_keys_of_its_issuer_and_those_of_holders(
    service: FakeService, feed: RevocationFeed, other: remit.Issuer
) -> None:
    old = service.rotate()
    follower = follow(service, [old.anchor, service.issuer.anchor, other.anchor])
    holder = remit.Issuer.generate(OTHER)
    service.revoke(key=key_of(old), reason="stolen")
    service.revoke(key=key_of(holder))
    assert known(follower) == {f"key:{key_of(old)}", f"key:{key_of(holder)}"}
    follower.close()


def test_a_key_that_is_trusted_under_both_names_is_the_feeds_to_revoke(
    service: FakeService, other: remit.Issuer
) -> None:
    shared = remit.TrustAnchor(service.url, other.anchor.jwk)
    follower = follow(service, [other.anchor, service.issuer.anchor, shared])
    service.revoke(key=key_of(other))
    assert known(follower) == {f"key:{key_of(other)}"}
    follower.close()


def test_tokens_and_agents_count_for_every_issuer(
    service: FakeService, feed: RevocationFeed, other: remit.Issuer
) -> None:
    guard = remit.Guard(trust=[service.issuer.anchor, other.anchor], ledger=feed, clock=service.clock)
    named, listed = other.issue("agent-a", ["tool:use"]), other.issue("agent-b", ["tool:use"])
    service.revoke(agent="agent-a")
    service.revoke(token_id=listed.token_id)
    feed.position()
    for credential in (named, listed):
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"  # noqa: B023

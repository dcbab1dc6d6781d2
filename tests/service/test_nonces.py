"""Nonces: known again by any instance, for five minutes, and made by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import remit
from remit.service import Instance
from remit.service.nonces import LIFETIME, Nonces

from .support import URI, Clock, Deployment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def instance(deployment: Deployment, clock: Clock) -> Iterator[Instance]:
    with deployment.instance(clock=clock) as made:
        yield made


def test_a_nonce_is_good_for_five_minutes(instance: Instance, clock: Clock) -> None:
    nonces = Nonces(instance)
    nonce, expires_at = nonces.make()
    assert expires_at == int(clock.now) + LIFETIME
    assert nonces.accepts(nonce)
    clock.now = expires_at - 0.001
    assert nonces.accepts(nonce)
    clock.now = expires_at
    assert not nonces.accepts(nonce)


def test_no_two_nonces_are_the_same(instance: Instance) -> None:
    nonces = Nonces(instance)
    assert len({nonces.make()[0] for _ in range(200)}) == 200


def test_another_instance_with_the_same_key_knows_it(
    deployment: Deployment, instance: Instance, clock: Clock
) -> None:
    with deployment.instance(clock=clock) as other:
        assert Nonces(other).accepts(Nonces(instance).make()[0])


def test_an_instance_with_another_key_does_not(
    instance: Instance, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = Deployment.make(tmp_path_factory.mktemp("other") / "deployment")
    with elsewhere.instance(clock=clock) as other:
        assert not Nonces(other).accepts(Nonces(instance).make()[0])


def test_every_changed_character_is_noticed(instance: Instance) -> None:
    nonces = Nonces(instance)
    nonce, _ = nonces.make()
    for place, char in enumerate(nonce):
        for other in "A1.":
            if other != char:
                assert not nonces.accepts(nonce[:place] + other + nonce[place + 1 :]), place


@pytest.mark.parametrize(
    "nonce",
    ["", ".", "..", "a", "1.2.3", "\0", "é" * 70, "9" * 5000, "٣" * 12 + "." + "A" * 16 + "." + "A" * 43],
)
def test_what_is_none_is_not_accepted(instance: Instance, nonce: str) -> None:
    assert not Nonces(instance).accepts(nonce)


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "{}="])
def test_a_nonce_has_one_spelling(instance: Instance, around: str) -> None:
    nonces = Nonces(instance)
    assert not nonces.accepts(around.format(nonces.make()[0]))


def test_a_nonce_outlives_the_rotation_of_the_key(
    deployment: Deployment, instance: Instance, clock: Clock
) -> None:
    nonces = Nonces(instance)
    before, _ = nonces.make()
    key = remit.Issuer.generate(URI)
    key.anchor.save(deployment.folder / "anchors" / f"{key.anchor.key.thumbprint}.json")
    key.save(deployment.folder / "new.key")
    (deployment.folder / "new.key").replace(deployment.folder / "issuer.key")
    assert instance.keys.issuer().anchor == key.anchor
    assert nonces.accepts(before)
    after, _ = nonces.make()
    assert nonces.accepts(after)
    with deployment.instance(clock=clock) as fresh:  # it has never had the old key
        assert Nonces(fresh).accepts(after)
        assert not Nonces(fresh).accepts(before)

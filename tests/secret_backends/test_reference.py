"""References are read strictly, and whatever is wrong with one is said without quoting it."""

from __future__ import annotations

from typing import Any

import pytest

import remit
from remit.secrets.reference import Reference, parse_reference

GOOD = [
    "env://NAME", "env://_x", "env://my-key.v2",
    "file:///run/secrets/db", "file:///run/my secrets/..data", "file:///é/ü",
    "keyring://service/user", "keyring://acme.example/me@acme.example",
    "vault://secret/db", "vault://secret/db#password", "vault://team/kv/a/b#the field", "vault://s/a=b:c#x",
    "aws://prod/db", "aws:///prod/db", "aws://db#password", "aws://db?region=eu-west-1",
    "aws://db?region=eu-west-1&stage=AWSPREVIOUS#a.b", "aws://db?version=0123456789abcdef0123456789abcdef",
    "aws://arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
    "aws://arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:db-AbCdEf?region=cn-north-1#x",
    "gcp://my-project/db", "gcp://123456/db/latest", "gcp://acme.example:proj/db/7#password",
    "azure://my-vault/db", "azure://myvault/db/0123456789abcdef0123456789abcdef",
    "azure://myvault.vault.azure.net/db", "azure://myvault.vault.azure.cn/db#x",
    "azure://myvault.vault.usgovcloudapi.net/db",
]  # fmt: skip

BAD = [
    # no reference at all
    "", " ", "NAME", "env:NAME", "env:/NAME", "env//NAME", "://NAME", "env:// ", "env://", " env://A", "1env://A",
    "env ://A", "env://A\n", "env://A\x00", "env://A\u2028", "env://\ud800", "é://A", "a" * 33 + "://x",
    # what is in no scheme
    "env://A%42", "file:///a%2fb", "env://A\\B", "env://A#", "env://A?", "env://A#x", "env://A?x=1",
    "vault://a/b##c", "vault://a/b#c#d", "vault://a/b#c?d=e", "aws://db#a?region=x", "aws://a?region=", "aws://a?region",
    "aws://a?=x", "aws://a?region=a&region=a", "aws://a?region=a&", "aws://a??region=a", "aws://a?Region=a",
    "aws://a?region= a", "aws://a?region=a=b", "env://A ", "env:// A",
    # each scheme's own
    "env://1A", "env://A/B", "env://A=B", "env://A B", "env://é",
    "file://", "file:///", "file:///a/", "file:///a//b", "file:////a", "file:///a/../b", "file:///../a", "file:///a/./b",
    "file:///a\tb", "file:///a\x7fb", "file:///a\u202eb", "file:///a\xa0b", "keyring://a\x1b/b",
    "file:///..", "file:///.", "file://relative", "file://~/x", "file:///a?x=1", "file:///a#x",
    "keyring://service", "keyring:///user", "keyring://service/", "keyring://a/b/c", "keyring://a/..", "keyring://a b/c",
    "vault://secret", "vault://secret/", "vault:///secret/db", "vault://secret//db", "vault://secret/../sys/raw",
    "vault://secret/a b", "vault://secret/é", "vault://secret/db#é", "vault://secret/db?version=1", "vault://secret/db# ",
    "aws://a b", "aws://a*", "aws://arn:aws:secretsmanager:eu-west-1:123:secret:x", "aws://arn:aws:s3:::bucket",
    "aws://a?region=evil.example/", "aws://a?version=1", "aws://a?stage=a b", "aws://a?stage=A&version=" + "0" * 32,
    "aws://a?endpoint=http", "aws://arn:aws:secretsmanager:eu-west-1:123456789012:secret:x?region=us-east-1",
    "gcp://project", "gcp://project/", "gcp://project/a/b/c", "gcp://Project/a", "gcp://project/a b", "gcp://project/../a",
    "gcp://project/a?x=1", "gcp://../a", "gcp://project/a/",
    "azure://v/a", "azure://myvault", "azure://myvault/", "azure://myvault/a/1", "azure://myvault.evil.example/a",
    "azure://myvault.vault.azure.net.evil.example/a", "azure://evil.example/myvault.vault.azure.net/a",
    "azure://my--vault/a", "azure://1vault/a", "azure://myvault:443/a", "azure://me@myvault/a", "azure://myvault/a_b",
    "azure://" + "a" * 25 + "/a", "azure://myvault.vault.azure.net./a", "azure://myvault/a/" + "g" * 32,
]  # fmt: skip


@pytest.mark.parametrize("reference", GOOD)
def test_a_reference_is_kept_as_it_was_written(reference: str) -> None:
    secrets = remit.Secrets({"KEY": reference})
    assert secrets.references == {"KEY": reference}
    assert secrets.backend_of("KEY") == reference.partition("://")[0]


@pytest.mark.parametrize("reference", BAD, ids=ascii)
def test_a_reference_that_is_odd_is_refused_by_the_name_of_its_secret(reference: str) -> None:
    with pytest.raises(remit.ConfigError, match=r"^secret 'KEY': ") as caught:
        remit.Secrets({"KEY": reference})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("reference", [None, 5, b"env://A", ["env://A"], {"env": "A"}, True], ids=repr)
def test_a_reference_that_is_no_text_is_refused(reference: Any) -> None:
    with pytest.raises(remit.ConfigError, match="must be text"):
        remit.Secrets({"KEY": reference})


@pytest.mark.parametrize(
    "value",
    ["hunter2-canary", "sk_live_canary", "postgres://app:canary@db/x", "env://canary value", "vault://canary", "aws://canary*",
     "vault://secret/db?canary=canary", "gcp://canary canary", "azure://canary", "file://canary", "keyring://canary",
     "env://A?canary", "canary" * 1000, "env://CANARY\ncanary"], ids=lambda value: value[:30],
)  # fmt: skip
def test_a_value_written_in_place_of_its_reference_is_not_quoted(value: str) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        remit.Secrets({"KEY": value})
    told = str(caught.value).replace("takes no option 'canary'", "")  # the name of an option is
    assert "canary" not in told.lower()
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("vualt://secret/db#x", "'vualt' is not known, did you mean 'vault'?"),
        ("ENV://NAME", "'ENV' is not known, did you mean 'env'?"),
        ("https://x", "'https' is not known (there are env, file, keyring, vault, aws, gcp, azure)"),
        ("aws://db?regoin=eu-west-1", "takes no option 'regoin', did you mean 'region'?"),
        ("aws://db?zone=1", "takes no option 'zone' (region, stage, version)"),
        ("env://A?a=1", "env:// takes no option 'a'"),
        ("gcp://p/s?x=1", "gcp:// takes no option 'x'"),
        ("file:///run/../etc/shadow", "has a part that is '.' or '..'"),
        ("file://name", "no root is set"),
        ("env://A#b", "env:// takes no #field"),
        ("aws://a?region=x&region=y", "has the option 'region' twice"),
    ],
)
def test_what_is_wrong_is_said(reference: str, said: str) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        remit.Secrets({"KEY": reference})
    assert said in str(caught.value)


def test_a_reference_is_taken_apart_and_nothing_in_it_changed() -> None:
    reference = parse_reference("aws:///Prod/DB?region=eu-west-1&stage=A#pass word")
    assert (reference.scheme, reference.path, reference.field) == ("aws", "/Prod/DB", "pass word")
    assert dict(reference.options) == {"region": "eu-west-1", "stage": "A"}
    with pytest.raises(TypeError):
        reference.options["region"] = "us-east-1"  # type: ignore[index]  # the mistake itself
    assert reference == Reference(reference.text, "other", "other")
    assert len({reference, parse_reference(reference.text)}) == 1


def test_a_long_reference_is_refused_before_it_is_read() -> None:
    assert parse_reference("env://" + "A" * 2042).path == "A" * 2042
    for long in ("env://" + "A" * 2043, "x" * 50_000_000):
        with pytest.raises(remit.ConfigError, match="longer than 2048"):
            parse_reference(long)

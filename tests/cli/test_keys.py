"""`remit keys`: a rotation that is killed anywhere leaves what works, and a retired key is refused at once."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import remit
from remit.cli import rotation
from remit.config import load

from .support import URI, Deployment, run


def kid_of(deployment: Deployment) -> str:
    [kid] = [key["kid"] for key in deployment.json("keys") if key["active"]]
    return str(kid)


def state(deployment: Deployment) -> dict[str, tuple[bool, bool, bool]]:
    return {key["kid"]: (key["active"], key["trusted"], key["revoked"]) for key in deployment.json("keys")}


def test_a_new_deployment_has_one_key(deployment: Deployment) -> None:
    [key] = deployment.json("keys")
    kid = remit.Issuer.load("issuer.key").anchor.key.thumbprint
    assert key == {
        "kid": kid, "issuer": URI, "active": True, "trusted": True, "revoked": False, "file": f"anchors/{kid}.json",
    }  # fmt: skip
    assert deployment.run("keys").stdout.startswith(f"{kid}  active, trusted\n")


class TestRotate:
    def test_old_and_new_tokens_are_good(self, deployment: Deployment) -> None:
        before = deployment.issued()
        Path("pricing-agent.json").rename("old.json")
        old = kid_of(deployment)
        document = deployment.json("keys", "rotate")
        assert (document["previous"], document["issuer"]) == (old, URI)
        assert state(deployment) == {document["kid"]: (True, True, False), old: (False, True, False)}
        after = deployment.issued()
        assert before.token.split(".")[0] != after.token.split(".")[0]
        assert [deployment.verdict(name) for name in ("old.json", "pricing-agent.json")] == [
            "allowed",
            "allowed",
        ]

    def test_a_guard_that_runs_finds_the_new_key_when_it_first_meets_it(self, deployment: Deployment) -> None:
        guard = remit.Guard.from_config("remit.toml")
        before = deployment.issued()
        Path("pricing-agent.json").rename("old.json")
        deployment.run("keys", "rotate")
        after = deployment.issued()
        for credential in (before, after, before):
            assert guard.validate(credential).agent == "pricing-agent"
        stranger = remit.Issuer.generate(URI).issue("pricing-agent", ["pricing:read"])
        with pytest.raises(remit.TokenRejected) as refusal:
            guard.validate(stranger)
        assert refusal.value.code == "token_signature_invalid"

    def test_the_old_private_key_is_kept_for_its_owner_alone(self, deployment: Deployment) -> None:
        data = Path("issuer.key").read_bytes()
        kept = Path(deployment.json("keys", "rotate")["kept"])
        assert kept.read_bytes() == data != Path("issuer.key").read_bytes()
        for path in (kept, Path("issuer.key")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.stat().st_nlink == 1
        assert sorted(path.name for path in Path().iterdir() if "issuer.key" in path.name) == sorted(
            ["issuer.key", kept.name]
        )

    def test_what_is_kept_is_ignored_by_git(self, deployment: Deployment) -> None:
        kept = Path(deployment.json("keys", "rotate")["kept"])
        patterns = Path(".gitignore").read_text(encoding="utf-8").split()
        assert any(kept.match(pattern) for pattern in patterns)

    def test_again_and_again(self, deployment: Deployment) -> None:
        for _ in range(3):
            deployment.run("keys", "rotate")
        assert sum(trusted for _, trusted, _ in state(deployment).values()) == 4
        assert len(list(Path().glob("issuer.key.*"))) == 3

    def test_an_encrypted_key_stays_encrypted_with_the_same_passphrase(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEY_PASS", "correct horse")
        run("init", "--issuer", URI, "--passphrase-env", "KEY_PASS")
        deployment = Deployment(tmp_path)
        deployment.run("keys", "rotate")
        assert "ENCRYPTED" in Path("issuer.key").read_text(encoding="utf-8")
        assert remit.Issuer.load("issuer.key", passphrase="correct horse").uri == URI
        assert len(deployment.json("keys")) == 2
        monkeypatch.delenv("KEY_PASS")
        deployment.run("keys", "rotate", status=1)
        result = deployment.run("keys")
        assert "not known here" in result.stderr
        assert "active" not in result.stdout

    @pytest.mark.parametrize("step", ["save", "anchor", "keep", "replace", "sync"])
    def test_killed_anywhere_it_leaves_what_works(
        self, step: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after `kill -9`: nothing is tidied up."""
        deployment.issued()
        Path("pricing-agent.json").rename("old.json")

        class Killed(BaseException):
            pass

        def die(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(rotation, "suppress", lambda *_: (_ for _ in ()).throw(Killed))
            patched.setattr(Path, "unlink", die)
            match step:
                case "save":
                    patched.setattr(remit.Issuer, "save", die)
                case "anchor":
                    patched.setattr(remit.TrustAnchor, "save", die)
                case "keep":
                    patched.setattr(rotation, "_keep", die)
                case "replace":
                    patched.setattr(Path, "replace", die)
                case _:
                    patched.setattr(rotation, "_sync", die)
            with pytest.raises(Killed):
                rotation.rotate_key(load("remit.toml"))
        deployment.issued()
        assert [deployment.verdict(name) for name in ("old.json", "pricing-agent.json")] == [
            "allowed",
            "allowed",
        ]
        deployment.run("keys", "rotate")
        deployment.issued()
        assert [deployment.verdict(name) for name in ("old.json", "pricing-agent.json")] == [
            "allowed",
            "allowed",
        ]

    @pytest.mark.parametrize("step", ["save", "anchor", "keep", "replace"])
    def test_a_failure_leaves_nothing_behind(
        self, step: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = {
            path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and "db" not in path.name
        }

        def fail(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            match step:
                case "save":
                    patched.setattr(remit.Issuer, "save", fail)
                case "anchor":
                    patched.setattr(remit.TrustAnchor, "save", fail)
                case "keep":
                    patched.setattr(os, "link", fail)
                case _:
                    patched.setattr(Path, "replace", fail)
            if step in {"save", "anchor", "replace"}:
                result = deployment.run("keys", "rotate", status=1)
                assert "No space left on device" in result.stderr
            else:
                deployment.run("keys", "rotate", status=1)
        after = {
            path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and "db" not in path.name
        }
        kept = {path for path in after if path.name.startswith("issuer.key.")}
        assert {path: data for path, data in after.items() if path not in kept} == before
        assert all(after[path] == before[Path("issuer.key")] for path in kept)
        deployment.run("keys", "rotate")

    def test_a_private_key_that_is_in_the_way_is_not_overwritten(self, deployment: Deployment) -> None:
        kept = Path(f"issuer.key.{kid_of(deployment)}")
        kept.write_text("another", encoding="utf-8")
        before = Path("issuer.key").read_bytes()
        result = deployment.run("keys", "rotate", status=1)
        assert "never overwritten" in result.stderr
        assert (kept.read_text(encoding="utf-8"), Path("issuer.key").read_bytes()) == ("another", before)
        assert len(deployment.json("keys")) == 1

    def test_at_once_one_key_wins_and_no_key_is_lost(self, deployment: Deployment) -> None:
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda _: deployment.program("keys", "rotate", "--json"), range(3)))
        made = [json.loads(one.stdout) for one in done if one.returncode == 0]
        assert made
        assert all("another rotation" in one.stderr for one in done if one.returncode)
        private = {remit.Issuer.load(path).anchor.key.thumbprint for path in Path().glob("issuer.key*")}
        assert private == {key["kid"] for key in deployment.json("keys")}
        assert {one["kid"] for one in made} <= private

    @pytest.mark.parametrize("line", ["", 'anchors = "one.json"\n'])
    def test_without_a_folder_of_anchors_the_old_key_could_not_stay_trusted(
        self, line: str, deployment: Deployment
    ) -> None:
        remit.Issuer.load("issuer.key").anchor.save("one.json")
        policy = Path("remit.toml").read_text(encoding="utf-8").splitlines(keepends=True)
        Path("remit.toml").write_text(
            "".join(line if one.startswith("anchors") else one for one in policy), encoding="utf-8"
        )
        before = Path("issuer.key").read_bytes()
        assert "a folder" in deployment.run("keys", "rotate", status=1).stderr
        assert Path("issuer.key").read_bytes() == before

    def test_an_anchor_that_was_not_in_the_folder_is_put_there(self, deployment: Deployment) -> None:
        old = kid_of(deployment)
        Path(f"anchors/{old}.json").unlink()
        remit.Issuer.generate("https://other.example").anchor.save("anchors/other.json")
        deployment.run("keys", "rotate")
        assert state(deployment)[old] == (False, True, False)

    def test_a_link_is_not_replaced(self, deployment: Deployment) -> None:
        Path("issuer.key").rename("elsewhere.key")
        Path("issuer.key").symlink_to("elsewhere.key")
        assert "symbolic link" in deployment.run("keys", "rotate", status=1).stderr
        assert Path("issuer.key").is_symlink()

    def test_without_a_key_there_is_nothing_to_rotate(self, deployment: Deployment) -> None:
        policy = Path("remit.toml").read_text(encoding="utf-8").splitlines(keepends=True)
        Path("remit.toml").write_text(
            "".join(one for one in policy if not one.startswith("key")), encoding="utf-8"
        )
        assert deployment.json("keys", "rotate", status=1)["code"] == "config_error"
        [key] = deployment.json("keys")
        assert (key["active"], key["trusted"]) == (False, True)


class TestRetire:
    @pytest.fixture
    def old(self, deployment: Deployment) -> str:
        """A key that was rotated out, and signed `old.json`."""
        deployment.issued()
        Path("pricing-agent.json").rename("old.json")
        previous: str = deployment.json("keys", "rotate")["previous"]
        return previous

    def test_what_it_has_signed_is_refused_and_nothing_else(self, deployment: Deployment, old: str) -> None:
        deployment.issued()
        assert deployment.json("keys", "retire", old, "--reason", "rotation") == {
            "kid": old,
            "revoked": True,
            "retired": [f"anchors/{old}.json.retired"],
            "left": [],
        }
        assert deployment.verdict("old.json").startswith("token_")
        assert deployment.verdict("pricing-agent.json") == "allowed"
        assert state(deployment)[old] == (False, False, True)

    def test_a_guard_that_runs_refuses_it_at_once(self, deployment: Deployment, old: str) -> None:
        guard = remit.Guard.from_config("remit.toml")
        credential = remit.Credential.load("old.json")
        assert guard.check(credential, "prices:read", {}).agent == "pricing-agent"
        deployment.run("keys", "retire", old)
        with pytest.raises(remit.TokenRejected) as caught:
            guard.check(credential, "prices:read", {})
        assert caught.value.code == "token_revoked"

    def test_a_second_time_says_so(self, deployment: Deployment, old: str) -> None:
        deployment.run("keys", "retire", old)
        assert deployment.json("keys", "retire", old)["revoked"] is False
        assert "was retired already" in deployment.run("keys", "retire", old).stdout

    def test_the_key_that_signs_is_kept_unless_forced(self, deployment: Deployment, old: str) -> None:
        active = kid_of(deployment)
        result = deployment.run("keys", "retire", active, status=1)
        assert "rotate" in result.stderr
        assert state(deployment)[active] == (True, True, False)
        deployment.run("keys", "retire", active, "--force")
        assert state(deployment)[active] == (True, False, True)

    def test_the_last_anchor_stays_and_the_ledger_refuses_the_key(self, deployment: Deployment) -> None:
        active = kid_of(deployment)
        deployment.issued()
        result = deployment.run("keys", "retire", active, "--force")
        assert "only key" in result.stderr
        assert deployment.verdict("pricing-agent.json") == "token_revoked"
        deployment.run("keys", "rotate")
        deployment.issued()
        assert deployment.verdict("pricing-agent.json") == "allowed"

    def test_an_anchor_that_is_named_one_by_one_is_for_a_person(
        self, deployment: Deployment, old: str
    ) -> None:
        Path(f"anchors/{old}.json").rename("old-anchor.json")
        policy = Path("remit.toml").read_text(encoding="utf-8")
        Path("remit.toml").write_text(
            policy.replace('anchors = "anchors"', 'anchors = ["anchors", "old-anchor.json"]'),
            encoding="utf-8",
        )
        result = deployment.run("keys", "retire", old, "--json")
        assert json.loads(result.stdout)["left"] == ["old-anchor.json"]
        assert "out of [issuer] anchors" in result.stderr
        assert Path("old-anchor.json").exists()
        assert deployment.verdict("old.json") == "token_revoked"

    @pytest.mark.parametrize("kid", ["x", "A" * 43, "-" * 43, "-" + "A" * 42, "--nosuch", ""])
    def test_a_key_that_is_not_there_is_an_error(self, kid: str, deployment: Deployment) -> None:
        assert deployment.json("keys", "retire", kid, status=1)["code"] == "config_error"

    def test_a_token_is_no_key_and_is_not_repeated(self, deployment: Deployment) -> None:
        token = deployment.issued().token
        assert token[:50] not in deployment.run("keys", "retire", token, status=2).output

    def test_a_key_that_begins_with_a_dash_can_be_retired(self, deployment: Deployment) -> None:
        while not (issuer := remit.Issuer.generate(URI)).anchor.key.thumbprint.startswith("-"):
            pass
        kid = issuer.anchor.key.thumbprint
        issuer.anchor.save(f"anchors/{kid}.json")
        assert deployment.json("keys", "retire", kid)["revoked"] is True


@pytest.mark.parametrize("arguments", [["--json", "rotate"], ["--config", "remit.toml", "rotate"]])
def test_options_stand_after_the_command_they_are_for(arguments: list[str], deployment: Deployment) -> None:
    result = deployment.run("keys", *arguments, status=2)
    assert "after rotate" in result.stderr
    assert len(deployment.json("keys")) == 1


def test_a_retired_file_that_is_broken_is_noted(deployment: Deployment) -> None:
    Path("anchors/x.json.retired").write_text("junk", encoding="utf-8")
    assert deployment.run("keys").stderr == "remit: 'anchors/x.json.retired' holds no trust anchor\n"

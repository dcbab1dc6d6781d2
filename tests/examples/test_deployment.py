"""The deployments in `examples/deployment`: what can be checked of them without Docker, and the service itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from remit.config import load

from ..ledger.redis_server import RedisServer  # noqa: TID252 - the server of the tests of ledgers

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "examples" / "deployment"
COMPOSE: Final = FOLDER / "compose"
SYSTEMD: Final = FOLDER / "systemd"
PROGRAM: Final = Path(sys.executable).with_name("remit")
PATIENCE: Final = 60
PINNED: Final = re.compile(r"[\w./-]+:\d[\w.-]*|remit-service:local")
HARDENING: Final = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
OTHER_DIRECTIVES: Final = {
    "Unit": {"Description", "After", "Wants"},
    "Service": {
        "Environment", "ExecStart", "Group", "KillMode", "LimitNOFILE", "LoadCredential", "MemoryMax", "Restart",
        "RestartSec", "RestrictAddressFamilies", "StateDirectory", "StateDirectoryMode", "SystemCallFilter",
        "TasksMax", "TimeoutStopSec", "Type", "User",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((COMPOSE / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def unit() -> dict[str, list[tuple[str, str]]]:
    """The directives of the unit, by section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    lines: list[tuple[str, str]] = []
    for line in (SYSTEMD / "remit.service").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            lines.append((name, value))
    return sections


def of_unit(name: str) -> list[str]:
    return [value for each, value in unit()["Service"] if each == name]


def exec_start() -> list[str]:
    [line] = of_unit("ExecStart")
    program, *options = shlex.split(line)
    assert program == "/opt/remit/bin/remit"
    return options


def dockerfile() -> list[tuple[str, str]]:
    """Instructions and what stands behind them, continued lines joined."""
    text = (COMPOSE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


# ── containers ──────────────────────────────────────────────────────────────────────────────────────────────

INSTANCES: Final = ("remit-1", "remit-2")


@pytest.mark.parametrize("name", ["remit-1", "remit-2", "admin", "proxy", "redis", "postgres"])
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert PINNED.fullmatch(service["image"])
    assert "latest" not in service["image"]
    assert not service.keys() & {"privileged", "devices", "pid", "ipc", "network_mode", "extra_hosts"}
    if name == "proxy":  # root without a capability but that of the port
        assert service["cap_add"] == ["NET_BIND_SERVICE"]
    else:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert "cap_add" not in service


def test_there_are_two_instances_alike_and_one_way_in() -> None:
    first, second = (services()[name] for name in INSTANCES)
    assert {k: v for k, v in first.items() if k != "volumes"} == {
        k: v for k, v in second.items() if k != "volumes"
    }
    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]
    assert services()["proxy"]["ports"] == ["443:443"]


def test_networks_keep_the_ledger_away_from_the_world() -> None:
    document = compose()
    used = {name: set(service["networks"]) for name, service in services().items()}
    assert set().union(*used.values()) == set(document["networks"])
    assert document["networks"]["front"]["internal"] is document["networks"]["back"]["internal"] is True
    assert [name for name, networks in used.items() if "outside" in networks] == ["proxy"]
    assert used["redis"] == used["postgres"] == {"back"}
    [network] = document["networks"]["front"]["ipam"]["config"]
    command = services()["remit-1"]["command"]
    assert command[command.index("--proxy") + 1] == network["subnet"]


def test_every_secret_is_a_file_that_is_never_committed_and_that_the_page_says_how_to_make() -> None:
    document, page = compose(), (FOLDER / "README.md").read_text(encoding="utf-8")
    used = {secret for service in services().values() for secret in service.get("secrets", ())}
    assert used == set(document["secrets"])
    ignored = (FOLDER / ".gitignore").read_text(encoding="utf-8").split()
    assert {"/*/keys/", "/*/secrets/"} <= set(ignored)
    for name, secret in document["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert f"secrets/{name}" in page
    assert not (COMPOSE / "secrets").exists()


def test_there_is_no_password_in_it_and_one_variable_that_has_no_default() -> None:
    text = (COMPOSE / "docker-compose.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{?\w+[^}\s]*", text)) == {"${REMIT_HOST:?the"}
    assert "{$REMIT_HOST}" in (COMPOSE / "Caddyfile").read_text(encoding="utf-8")
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"PASS|TOKEN|SECRET|KEY", name) or name.endswith("_FILE"), name
            if name.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_every_volume_is_there_or_said_to_be_made() -> None:
    document = compose()
    named: set[str] = set()
    for service in services().values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert source == "./keys" or (COMPOSE / source).is_file(), source
            else:
                named.add(source)
    assert named == set(document["volumes"])
    assert all("./keys:/etc/remit/keys:ro" in services()[name]["volumes"] for name in INSTANCES)


def test_each_instance_writes_its_own_audit_log() -> None:
    logs = [v for name in (*INSTANCES, "admin") for v in services()[name]["volumes"] if "/var/lib/remit" in v]
    assert len(set(logs)) == 3
    assert ("RUN", "install -d -o 10001 -g 10001 -m 0700 /var/lib/remit") in dockerfile()


def test_every_service_says_whether_it_is_well_and_waits_for_what_it_needs() -> None:
    for name, service in services().items():
        assert (
            service["healthcheck"] == {"disable": True} if name == "admin" else service["healthcheck"]["test"]
        )
        assert set(service.get("depends_on", {})) <= set(services())
    for name in ("redis", "postgres"):
        assert services()[name]["profiles"] == [name]
        assert services()["remit-1"]["depends_on"][name] == {
            "condition": "service_healthy",
            "required": False,
        }
    assert services()["admin"]["profiles"] == ["admin"]


def test_the_image_is_made_of_what_is_there_and_of_packages_with_hashes() -> None:
    steps = dockerfile()
    assert all(PINNED.fullmatch(value.partition(" ")[0]) for name, value in steps if name == "FROM")
    copied = [value.split()[:-1] for name, value in steps if name == "COPY" and "--from" not in value]
    sources = {source for each in copied for source in each}
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []
    installs = [value for _, value in steps if "pip install" in value]
    assert all("--no-deps" in value for value in installs)
    assert "--require-hashes" in installs[0]
    assert set(re.findall(r"-r (\S+)", installs[0])) == {"requirements/build.txt", "requirements/service.txt"}
    last = dict(steps)
    assert last["USER"] == services()["remit-1"]["user"]
    assert json.loads(last["ENTRYPOINT"]) == ["remit"]
    assert (COMPOSE / services()["remit-1"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / services()["remit-1"]["build"]["dockerfile"]).samefile(COMPOSE / "Dockerfile")


def test_what_goes_into_the_image_is_not_ignored_and_nothing_else_is_sent() -> None:
    first, *kept = [
        line
        for line in (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert first == "*"
    allowed = {line.removeprefix("!") for line in kept if line.startswith("!")}
    copied = [value.split()[:-1] for name, value in dockerfile() if name == "COPY" and "--from" not in value]
    assert {
        source.partition("/")[0] if source.startswith("requirements/") else source
        for e in copied
        for source in e
    } == allowed


def test_the_proxy_knows_the_instances_and_its_own_secrets() -> None:
    text = (COMPOSE / "Caddyfile").read_text(encoding="utf-8")
    assert Counter(text)["{"] == Counter(text)["}"]
    command = services()["remit-1"]["command"]
    port = command[command.index("--port") + 1]
    [line] = re.findall(r"reverse_proxy (.+) \{", text)
    assert line.split() == [f"{name}:{port}" for name in INSTANCES]
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(services()["proxy"]["secrets"])
    [check] = [each for each in services()["proxy"]["healthcheck"]["test"] if each.startswith("http")]
    assert f"\n{check.rstrip('/')} {{" in text


# ── systemd ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_unit_has_no_directive_that_nobody_knows_and_gives_up_what_it_does_not_need() -> None:
    sections = unit()
    assert set(sections) == set(OTHER_DIRECTIVES)
    for section, directives in sections.items():
        known = OTHER_DIRECTIVES[section] | (set(HARDENING) if section == "Service" else set())
        assert {name for name, _ in directives} <= known
    assert {name: value for name, value in sections["Service"] if name in HARDENING} == HARDENING
    assert of_unit("User") == of_unit("Group") == ["remit"]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Where there is no systemd, the test above is what there is."""
    program = shutil.which("systemd-analyze")
    text = (SYSTEMD / "remit.service").read_text(encoding="utf-8")
    copy = tmp_path / "remit.service"
    copy.write_text(text.replace("/opt/remit/bin/remit", str(PROGRAM)), encoding="utf-8")
    verify = [program, "verify", "--man=no", str(copy)] if program else [sys.executable, "-c", "pass"]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_credentials_of_the_unit_are_those_of_its_policy_file() -> None:
    named = {value.partition(":")[0] for value in of_unit("LoadCredential")}
    text = (SYSTEMD / "remit.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"file:///run/credentials/remit\.service/(\w+)", text)) == named
    assert of_unit("Environment")[0] == "REMIT_CONFIG=/etc/remit/remit.toml"
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in named)


def test_nginx_ends_tls_for_the_unit() -> None:
    text = re.sub(r"#.*", "", (SYSTEMD / "nginx.conf").read_text(encoding="utf-8"))
    assert Counter(text)["{"] == Counter(text)["}"]
    assert all(line.rstrip().endswith((";", "{", "}")) for line in text.splitlines() if line.strip())
    options = exec_start()
    assert f"server 127.0.0.1:{options[options.index('--port') + 1]};" in text
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in text
    assert "client_max_body_size 1m;" in text


# ── the service itself ──────────────────────────────────────────────────────────────────────────────────────


def test_both_policy_files_say_the_same_and_differ_in_where_secrets_are() -> None:
    def tables(folder: Path) -> str:
        config = load(folder / "remit.toml")
        assert config.service.require_nonce
        assert set(config.agents) == {"pricing-agent"}
        text = (folder / "remit.toml").read_text(encoding="utf-8")
        return re.sub(r"#.*", "", text).replace("/run/credentials/remit.service/", "/run/secrets/")

    assert tables(COMPOSE) == tables(SYSTEMD)


@pytest.mark.parametrize(
    "options",
    [exec_start(), services()["remit-1"]["command"], json.loads(dict(dockerfile())["CMD"])],
    ids=["unit", "compose", "image"],
)
def test_the_command_line_knows_every_option(options: list[str]) -> None:
    done = subprocess.run(
        [PROGRAM, *options, "--new-admin-token"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "its hash" in done.stdout


@contextmanager
def serving(folder: Path, options: list[str], ledger: str, place: Path) -> Generator[str]:
    """The service of a folder, at a free port of this machine, with its files in `place`; its URL."""
    secrets, state = place / "run", place / "state"
    secrets.mkdir()
    state.mkdir()
    for name in ("admin_token", "issuer_passphrase", "pricing_client_secret"):
        (secrets / name).write_text(f"the {name} of a test, which is long enough\n")
    (secrets / "ledger_url").write_text(ledger)
    text = (folder / "remit.toml").read_text(encoding="utf-8")
    for where in ("/run/secrets", "/run/credentials/remit.service"):
        text = text.replace(where, str(secrets))
    (place / "remit.toml").write_text(text.replace("/var/lib/remit", str(state)), encoding="utf-8")
    environment = {**os.environ, "PASSPHRASE": (secrets / "issuer_passphrase").read_text().strip()}
    init = "init --issuer https://auth.acme.example --dir keys --passphrase-env PASSPHRASE"
    subprocess.run(
        [PROGRAM, *init.split()],
        cwd=place,
        env=environment,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    own = [*options, "--host", "127.0.0.1", "--port", "0", "--workers", "1", "--json"]  # the last one counts
    environment["REMIT_CONFIG"] = str(place / "remit.toml")
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [PROGRAM, *own], cwd="/", env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        hang = threading.Timer(PATIENCE, process.kill)
        hang.start()
        line = process.stdout.readline()
        hang.cancel()
        assert line, (place / "log").read_text()
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        status = process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()
        assert status == 0, (place / "log").read_text()


def post(url: str, body: object, headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - as above
        found: dict[str, Any] = json.load(answer)
        return found


def issue(url: str, place: Path) -> dict[str, Any]:
    token = (place / "run" / "admin_token").read_text().strip()
    key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    return post(
        f"{url}/v1/tokens", {"subject_pubkey": key, "scope": "READ"}, {"Authorization": f"Bearer {token}"}
    )


@pytest.mark.servers
def test_the_containers_service_runs_on_redis_as_the_page_sets_it_up(tmp_path: Path) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    settings = page.partition("requirepass PASSWORD\n")[2].partition("```")[0]
    assert "appendfsync always" in settings
    assert "maxmemory-policy noeviction" in settings
    own = settings.replace("/data", str(tmp_path)).replace("bind * -::*", "bind 127.0.0.1").splitlines()
    lines = [line.split() for line in own if line]
    options = [word for name, *values in lines for word in (f"--{name}", *values)]
    server = RedisServer(tmp_path / "redis", *options, password="a-password-of-a-test")
    server.start()
    try:
        with serving(COMPOSE, services()["remit-1"]["command"], server.url, tmp_path) as url:
            assert issue(url, tmp_path)["scope"] == "READ prices:read"
            _, python, option, code = services()["remit-1"]["healthcheck"]["test"]
            assert (python, option) == ("python", "-c")
            code = code.replace("http://127.0.0.1:8000", url)
            well = subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE)
            assert well.returncode == 0
            server.stop()
            code = code.replace("timeout=3", f"timeout={PATIENCE}")
            ill = subprocess.run(
                [sys.executable, "-c", code], check=False, capture_output=True, timeout=2 * PATIENCE
            )
            assert ill.returncode != 0
    finally:
        server.kill()


@pytest.mark.servers
def test_the_units_service_runs_on_a_file_and_keeps_what_it_writes_where_it_may(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'state' / 'remit.db'}"
    with serving(SYSTEMD, exec_start(), ledger, tmp_path) as url:
        assert issue(url, tmp_path)["scope"] == "READ prices:read"
    written = {path.name for path in (tmp_path / "state").iterdir()}
    assert {"remit.db", "audit.jsonl"} <= written
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {
        ".gitignore",
        "anchors",
        "issuer.key",
        "remit.toml",
    }

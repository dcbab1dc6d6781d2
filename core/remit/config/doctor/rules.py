"""What `remit doctor` looks for: each finding has an identifier that does not change between releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["RULES", "Finding", "Report", "Rule", "Severity"]

Severity = Literal["error", "warning", "note"]
"""`error`: it does not work, or does not protect. `warning`: it protects less than it could. `note`: look."""

_ORDER: Final[tuple[Severity, ...]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong."""

    id: str
    severity: Severity
    meaning: str
    """What is wrong, as a clause."""
    remedy: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found."""

    id: str
    severity: Severity
    where: str
    """The policy file and line, or the file that it is about."""
    what: str
    """What was found. It holds no secret."""
    remedy: str

    def to_dict(self) -> dict[str, str]:
        """Return the finding as a JSON object."""
        return asdict(self)


_RULES: Final = (
    Rule(
        "R001-key-file-open",
        "error",
        "a private key file is open to others",
        "`chmod 600` the file, and replace the key if others had access",
    ),
    Rule(
        "R002-key-file-unusable",
        "error",
        "a private key file cannot be used",
        "name the file that `remit init` or `Issuer.save` wrote, with its passphrase",
    ),
    Rule(
        "R003-key-in-repository",
        "warning",
        "a private key file is in a git work tree and not ignored",
        "move it out, or ignore it; replace the key if it was committed",
    ),
    Rule(
        "R004-policy-file-open",
        "error",
        "others can change the policy file",
        "`chmod go-w` the file and its folder",
    ),
    Rule(
        "R005-ledger-file-open",
        "error",
        "others can change the ledger file",
        "`chmod o-rwx` the file and its folder",
    ),
    Rule(
        "R007-audit-file-open",
        "error",
        "others can change the audit file",
        "`chmod o-rwx` the file and its folder",
    ),
    Rule("R008-audit-file-readable", "warning", "others can read the audit file", "`chmod o-rwx` the file"),
    Rule(
        "R009-key-file-absent",
        "note",
        "the private key file is not here, so nothing can be issued",
        "none on a machine that only guards; elsewhere `remit init`",
    ),
    Rule("R010-policy-invalid", "error", "the policy file makes no sense", "correct the line"),
    Rule(
        "R020-clock-wrong",
        "error",
        "the clock is set to a time before this release",
        "set the clock, and keep it set with NTP",
    ),
    Rule(
        "R021-clock-jumps",
        "warning",
        "the clock was set while the doctor looked",
        "let NTP slew the clock instead of setting it",
    ),
    Rule(
        "R022-clock-apart",
        "warning",
        "this machine's clock and the ledger's differ",
        "keep both set with NTP",
    ),
    Rule(
        "R030-ledger-unreachable",
        "error",
        "the ledger cannot be opened, or does not answer",
        "start its server, or correct `[ledger] url`",
    ),
    Rule(
        "R031-ledger-not-durable",
        "warning",
        "the ledger forgets everything when the process ends",
        "use `sqlite:`, `redis:` or `postgresql:`",
    ),
    Rule(
        "R032-ledger-setting",
        "warning",
        "the ledger may lose what it was told, or others may get at it",
        "do as it says",
    ),
    Rule(
        "R033-ledger-password",
        "warning",
        "the ledger's password is in the policy file",
        'put the URL elsewhere, and name it: `url = "env://REMIT_LEDGER_URL"`',
    ),
    Rule(
        "R035-ledger-absent",
        "note",
        "there is no ledger file yet; the first use makes an empty one",
        "none when this is new; otherwise correct `[ledger] url`",
    ),
    Rule(
        "R036-stale-effects",
        "warning",
        "a capability with an effect may outlive its revocation by more than a minute",
        "give it a shorter bound in `fresh`",
    ),
    Rule("R040-no-anchors", "error", "no issuer is trusted here", "name anchors, or a key, in `[issuer]`"),
    Rule(
        "R041-anchor-unusable", "error", "an anchor cannot be used", "write it anew with `TrustAnchor.save`"
    ),
    Rule("R042-anchor-duplicate", "warning", "two anchor files hold the same key", "remove one"),
    Rule(
        "R043-own-anchor-missing",
        "error",
        "what is issued here is not trusted here",
        "add the issuer's anchor to `anchors`",
    ),
    Rule(
        "R044-guards-need-key",
        "warning",
        "guards take the anchor from the private key",
        "name `anchors`, so that guards hold only public material",
    ),
    Rule(
        "R045-key-not-needed",
        "warning",
        "a file that grants nothing names a private key",
        "remove `key`: a guard needs only anchors",
    ),
    Rule(
        "R046-key-among-anchors",
        "error",
        "a folder or file of anchors holds a private key",
        "move it away, and replace the key if guards had it",
    ),
    Rule(
        "R060-unconstrained-effect",
        "warning",
        "a capability with an effect allows any arguments",
        "name its arguments, each with a constraint",
    ),
    Rule(
        "R061-unlimited-payment",
        "warning",
        "a capability that pays has no limit",
        "give it `max_uses`, a `rate` or a `budget`",
    ),
    Rule("R062-long-ttl", "warning", "a token lives for more than an hour", "issue shorter ones more often"),
    Rule(
        "R063-deep-delegation",
        "warning",
        "a token may be delegated more than three times",
        "lower `max_depth`",
    ),
    Rule(
        "R064-secret-everywhere",
        "warning",
        "a secret may be resolved from every capability of the agent",
        'name the capabilities: `secrets = { NAME = ["..."] }`',
    ),
    Rule(
        "R065-other-arguments",
        "warning",
        "a capability with an effect allows arguments that are not named",
        "name them, and remove `other_arguments`",
    ),
    Rule(
        "R066-anything-goes",
        "note",
        "an argument of a capability with an effect may be anything",
        "bound it, with `max_length` if with nothing else",
    ),
    Rule(
        "R067-capability-near-miss",
        "note",
        "two capabilities differ by one letter",
        "correct one, or declare both in `[capabilities]`",
    ),
    Rule("R068-agent-near-miss", "note", "two agents differ by one letter", "correct one, or rename one"),
    Rule("R069-scope-unused", "note", "a scope is granted to nobody", "remove it"),
    Rule(
        "R070-secret-unresolvable",
        "warning",
        "a secret cannot be had on this machine",
        "set it, or correct its reference",
    ),
    Rule(
        "R071-admin-token-short",
        "warning",
        "the admin token has fewer than 16 characters",
        "make one with `openssl rand -hex 32`",
    ),
    Rule(
        "R072-setting-unresolvable",
        "error",
        "a setting cannot be had on this machine",
        "set it, or correct its reference",
    ),
    Rule("R080-audit-missing", "warning", "nothing is recorded", "add `[audit] path`"),
    Rule(
        "R081-audit-unsigned",
        "warning",
        "checkpoints are not signed: whoever can write the audit file can rewrite it",
        "name a key in `[audit] key`",
    ),
    Rule(
        "R082-audit-unwritable",
        "error",
        "the audit file cannot be written, so that every call is denied",
        "make its folder, and let this user write there",
    ),
    Rule(
        "R083-audit-shows-secrets",
        "warning",
        "an argument that is recorded in clear looks like a secret",
        "remove it from `[audit] arguments`",
    ),
    Rule(
        "R084-audit-signed-by-issuer",
        "warning",
        "the issuer's key signs the audit file, so that guards need it",
        "make an issuer for the audit file alone, and name its key in `[audit] key`",
    ),
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in _RULES})
"""Every rule by its identifier."""


class Report:
    """Collects findings."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def add(self, rule: str, where: str, what: str) -> None:
        """Note that something was found.

        Args:
            rule: the identifier of a rule.
            where: the policy file and line, or the file that it is about.
            what: what exactly, without any secret.
        """
        known = RULES[rule]
        self._findings.append(Finding(known.id, known.severity, where, what, known.remedy))

    def findings(self) -> list[Finding]:
        """Return what was found, the gravest first, nothing twice."""
        return sorted(
            dict.fromkeys(self._findings), key=lambda found: (_ORDER.index(found.severity), found.id)
        )

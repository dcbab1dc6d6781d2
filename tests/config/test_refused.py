"""Policy files that are refused: each with the line, and with what was meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import remit
from remit.config import load
from remit.config.source import MAX_SIZE

from .support import agent, refusal
from .support import policy as load_of

ISSUE = """\
[issuer]
uri = "https://auth.acme.example"
key = "issuer.key"

[scopes]
READ = ["pricing:read"]

[agents.pricing-agent]
capabilities = [
    "news:read",
    { capability = "trades:propose", arguments = { symbol = { one_of = ["ACME"] } } },
]
scope = "READ"
limits = { "trades:propse" = { max_uses = 3 } }
"""


def test_the_example_of_the_issue() -> None:
    assert (
        refusal(ISSUE) == "remit.toml:14: unknown capability 'trades:propse', did you mean 'trades:propose'?"
    )


TABLES = {
    "unknown-table": ("[agent.a]\ncapabilities = ['x:do']\n", 1, "unknown table 'agent', did you mean 'agents'?"),
    "unknown-table-far": ("\n[zzz]\n", 2, "unknown table 'zzz'"),
    "key-at-the-top": ('uri = "https://a.example"\n', 1, "unknown table 'uri'"),
    "unknown-key": ('[issuer]\n\nurl = "x"\n', 3, "unknown key 'url' in [issuer], did you mean 'uri'?"),
    "unknown-key-of-agent": (agent("ttll = '1m'"), 3, "unknown key 'ttll' in [agents.a], did you mean 'ttl'?"),
    "unknown-key-odd": ('[agents."a b"]\ncapabilities = ["x:do"]\nttll = 1\n', 3,
                        "unknown key 'ttll' in [agents.'a b'], did you mean 'ttl'?"),
    "scope-as-table": ('[scopes.READ]\ncapabilities = ["x"]\n', 1, "scope 'READ' must be a list, not a table"),
    "not-a-table": ("issuer = 7\n", 1, "[issuer] must be a table, not a whole number"),
    "guard-not-a-table": ("guard = 7\n", 1, "[guard] must be a table, not a whole number"),
    "service-not-a-table": ("service = 'x'\n", 1, "[service] must be a table, not text"),
    "ledger-not-a-table": ("ledger = 1.5\n", 1, "[ledger] must be a table, not a number"),
    "secrets-not-a-table": ("secrets = true\n", 1, "[secrets] must be a table, not true or false"),
    "capabilities-not-a-table": ("capabilities = ['x:do']\n", 1, "[capabilities] must be a table, not a list"),
    "scopes-not-a-table": ("scopes = 2027-01-01\n", 1, "[scopes] must be a table, not a date"),
    "capability-not-a-table": ("[capabilities]\n'x:do' = 'read'\n", 2, "[capabilities.'x:do'] must be a table, not text"),
    "not-a-table-of-agents": ("agents = []\n", 1, "[agents] must be a table, not a list"),
    "agent-not-a-table": ("[agents]\na = 'x:do'\n", 2, "[agents.a] must be a table, not text"),
    "array-of-tables": ("[[ledger]]\nurl = 'memory://'\n", 1, "[ledger] must be a table, not a list"),
    "audit-without-path": ("\n[audit]\nevery = 10\n", 2, "[audit] needs path"),
    "audit-false": ("audit = false\n", 1, "[audit] must be a table, not true or false"),
}  # fmt: skip

VALUES = {
    "uri": ('[issuer]\nuri = "acme"\n', 2, "uri must be a URI such as 'https://auth.example', not 'acme'"),
    "ttl-text": (agent('ttl = "10 minutes"'), 3, "ttl '10 minutes' must be a number and a unit: 30s, 15m, 2h or 7d"),
    "ttl-zero": (agent("ttl = 0"), 3, "ttl must be a positive number of whole seconds"),
    "ttl-nan": (agent("ttl = nan"), 3, "ttl must be a positive number of whole seconds"),
    "ttl-inf": (agent("ttl = inf"), 3, "ttl must be a positive number of whole seconds"),
    "ttl-date": (agent("ttl = 2027-01-01"), 3, "ttl must be a length of time such as '10m', not <date>"),
    "ttl-flag": (agent("ttl = true"), 3, "ttl must be a length of time such as '10m', not <bool>"),
    "ttl-long": ('[issuer]\nmax_ttl = "1h"\n' + agent('ttl = "2h"'), 5, "ttl is longer than the maximum of 3600 seconds"),
    "ttl-very-long": (agent('ttl = "8d"'), 3, "ttl is longer than the maximum of 604800 seconds"),
    "depth": (agent("max_depth = 9"), 3, "max_depth must be a whole number of 0 to 8, not 9"),
    "depth-flag": (agent("max_depth = true"), 3, "max_depth must be a whole number of 0 to 8, not True"),
    "depth-float": (agent("max_depth = 1.0"), 3, "max_depth must be a whole number of 0 to 8, not a number"),
    "session-blank": (agent('session = " "'), 3, "session must not be blank"),
    "task-list": (agent("task = ['t']"), 3, "task must be a string, not <list>"),
    "audience-empty": (agent("audience = []"), 3, "audience is empty; name at least one, or leave the line out"),
    "audience-twice": (agent("audience = [\n'b',\n'b']"), 5, "audience names 'b' twice"),
    "path-home": ('[issuer]\nkey = "~/issuer.key"\n', 2, "key: '~' is not expanded; write the path out, or relative to this file"),
    "path-blank": ('[issuer]\nkey = ""\n', 2, "key must be a path, not ''"),
    "path-number-and-more": ("[audit]\npath = 1\nevery = 10\nkeep = 1\nmax_bytes = 5000\nfsync = true\n", 2, "path must be a path, not 1"),
    "path-number": ("[audit]\npath = 1\n", 2, "path must be a path, not 1"),
    "anchors-empty": ("[issuer]\nanchors = []\n", 2, "anchors is empty; name at least one, or leave the line out"),
    "anchors-twice": ("[issuer]\nanchors = ['a', 'a']\n", 2, "anchors names 'a' twice"),
    "anchors-number": ("[issuer]\nanchors = 1\n", 2, "anchors must be a list, not a whole number"),
    "url": ("[ledger]\nurl = 'remit.db'\n", 2, "url must be a URL such as 'sqlite:///remit.db' or 'redis://localhost', or a reference"),
    "url-number": ("[ledger]\nurl = 7\n", 2, "url must be a URL such as 'sqlite:///remit.db' or 'redis://localhost', or a reference"),
    "fresh": ("[ledger]\nfresh = '5'\n", 2, "fresh '5' must be a number and a unit: 30s, 15m, 2h or 7d"),
    "fresh-empty": ("[ledger]\nfresh = {}\n", 2, "fresh is empty; name at least one, or leave the line out"),
    "fresh-of-one": ("[ledger.fresh]\n'*' = '1m'\n'a:b' = 'soon'\n", 3,
                     "fresh of 'a:b' 'soon' must be a number and a unit: 30s, 15m, 2h or 7d"),
    "every": ("[audit]\npath = 'a'\nevery = 1\n", 3, "every must be a whole number of 2 to 1000000, not 1"),
    "fsync": ("[audit]\npath = 'a'\nfsync = 'yes'\n", 3, "fsync must be true or false, not text"),
    "arguments": ("[audit]\npath = 'a'\narguments = ['amount']\n", 3, "arguments must be a table, not a list"),
    "arguments-empty": ("[audit]\npath = 'a'\narguments = { 'x:do' = [] }\n", 3,
                        "arguments of 'x:do' is empty; name at least one, or leave the line out"),
    "window": ("[guard]\nproof_window = '10m'\n", 2, "proof_window is longer than the maximum of 300 seconds"),
    "require": ("[guard]\nrequire_proof_audience = 1\n", 2, "require_proof_audience must be true or false, not a whole number"),
    "effect": ("[capabilities]\n'x:do' = { effect = 'sends' }\n", 2,
               "effect must be one of read, write, delete, send, pay, execute, not 'sends', did you mean 'send'?"),
    "effect-list": ("[capabilities]\n'x:do' = { effect = ['send'] }\n", 2,
                    "effect must be one of read, write, delete, send, pay, execute, not a list"),
    "description": ("[capabilities]\n'x:do' = { description = '' }\n", 2,
                    "description must be text of 1 to 1000 characters, not ''"),
}  # fmt: skip

NAMES = {
    "agent-blank": ('[agents." "]\ncapabilities = ["x:do"]\n', 1, "an agent's name must not be blank"),
    "agent-control": ('[agents."a\\u0007"]\ncapabilities = ["x:do"]\n', 1,
                      "an agent's name 'a\\x07' must be printable, without spaces around it"),
    "scope-space": ("[scopes]\n'A B' = ['x:do']\n", 2, "a scope 'A B' must have no spaces"),
    "capability-star": ("[capabilities]\n'trades:*' = {}\n", 2, "capability 'trades:*': names are exact, there are no wildcards"),
    "capability-secret": ("[scopes]\nA = [\n'secret:KEY']\n", 3, "capability 'secret:KEY': secrets are granted with secrets=[...]"),
    "secret-blank": ("[secrets]\n' ' = 'env://A'\n", 2, "a secret's name must not be blank"),
    "capability-twice": ("[scopes]\nA = [\n'x:do',\n{ capability = 'x:do' }]\n", 4, "capability 'x:do' is named twice"),
    "capability-number": ("[scopes]\nA = ['x:do',\n 7]\n", 3, "a capability must be text or a table, not a whole number"),
    "scope-empty": ("[scopes]\nREAD = []\n", 2, "scope 'READ' is empty; name at least one, or leave the line out"),
    "capabilities-empty": ("[agents.a]\ncapabilities = []\n", 2, "capabilities is empty; name at least one, or leave the line out"),
    "nothing-granted": ("[agents.a]\nttl = '1m'\n", 1, "the agent is granted nothing; name capabilities or a scope"),
    "nothing-granted-at-all": ("\n[agents.a]\n", 2, "the agent is granted nothing; name capabilities or a scope"),
    "scope-unknown": ("[scopes]\nREAD = ['x:do']\n[agents.a]\nscope = 'RAED'\n", 4, "unknown scope 'RAED', did you mean 'READ'?"),
    "scope-unknown-in-list": ("[scopes]\nREAD = ['x:do']\n[agents.a]\nscope = [\n'READ',\n'USER']\n", 6, "unknown scope 'USER'"),
    "scope-in-scope": ("[scopes]\nREAD = ['x:do']\nUSER = ['y:do',\n'READ']\n", 4, "'READ' is a scope and no capability; scopes do not nest"),
    "scope-in-itself": ("[scopes]\nREAD = ['READ']\n", 2, "'READ' is a scope and no capability; scopes do not nest"),
    "scope-as-capability": ("[scopes]\nREAD = ['x:do']\n[agents.a]\ncapabilities = ['READ']\n", 4,
                            "'READ' is a scope and no capability; scopes do not nest"),
    "ambiguous": ("[scopes]\nREAD = ['x:do']\n[agents.a]\nscope = 'READ'\ncapabilities = [{ capability = 'x:do', arguments = { n = 1 } }]\n", 4,
                  "scope 'READ' grants 'x:do' with other arguments than the agent is granted already; keep one of the two"),
    "ambiguous-scopes": ("[scopes]\nA = ['x:do']\nB = [{ capability = 'x:do', arguments = { n = 1 } }]\n[agents.a]\nscope = [\n'A',\n'B']\n", 7,
                         "scope 'B' grants 'x:do' with other arguments than the agent is granted already; keep one of the two"),
    "undeclared": ("[capabilities]\n'x:do' = {}\n[scopes]\nREAD = [\n'x:od']\n", 5, "unknown capability 'x:od', did you mean 'x:do'?"),
    "undeclared-table": ("[capabilities]\n'x:do' = {}\n[agents.a]\ncapabilities = [{\ncapability = 'zzz' }]\n".replace("{\nc", "{ c"), 4,
                         "unknown capability 'zzz'; it is not in [capabilities]"),
    "undeclared-all": ("capabilities = {}\n[agents.a]\ncapabilities = ['x:do']\n", 3, "unknown capability 'x:do'; it is not in [capabilities]"),
    "limit-not-granted": ("[scopes]\nREAD = ['x:do']\n" + "[agents.a]\ncapabilities = ['y:do']\nlimits.'x:do'.max_uses = 1\n", 5,
                          "the agent is not granted 'x:do', did you mean 'y:do'?"),
    "limit-unknown": (agent("limits = { 'pay' = { max_uses = 1 } }"), 3, "unknown capability 'pay'"),
    "delegate-only-unknown": (agent("delegate_only = ['x:od']\nmax_depth = 1"), 3, "unknown capability 'x:od', did you mean 'x:do'?"),
    "delegate-only-no-depth": (agent("delegate_only = 'x:do'"), 3,
                               "delegate_only needs a max_depth of 1 or more, or it can be neither used nor passed on"),
    "secret-unknown": ("[secrets]\nDB_KEY = 'env://DB'\n" + agent("secrets = ['DB_KYE']"), 5, "unknown secret 'DB_KYE', did you mean 'DB_KEY'?"),
    "secret-undeclared": (agent("secrets = ['K']"), 3, "unknown secret 'K'; give it a reference in [secrets]"),
    "secret-source": ("[secrets]\nK = 'env://K'\n" + agent("secrets = { K = ['x:do', 'x:od'] }"), 5, "unknown capability 'x:od', did you mean 'x:do'?"),
    "secret-sources-empty": ("[secrets]\nK = 'env://K'\n" + agent("secrets = { K = [] }"), 5,
                             "secrets of 'K' is empty; name at least one, or leave the line out"),
    "secrets-empty": (agent("secrets = []"), 3, "secrets is empty; name at least one, or leave the line out"),
    "secrets-empty-table": (agent("secrets = {}"), 3, "secrets is empty; name at least one, or leave the line out"),
    "secrets-text": (agent("secrets = 'K'"), 3, "secrets must be a list of names, or a table of lists, not text"),
    "fresh-unknown": ("[ledger.fresh]\n'*' = '1m'\n'x:od' = '5s'\n" + agent(""), 3, "unknown capability 'x:od', did you mean 'x:do'?"),
    "fresh-twice": ("[ledger.fresh]\n'x:do' = '1m'\n[capabilities]\n'x:do' = { fresh = '5s' }\n", 2,
                    "'x:do' has another staleness bound in [capabilities]"),
    "arguments-unknown": ("[audit]\npath = 'a'\narguments = { 'x:od' = ['n'] }\n" + agent(""), 3,
                          "unknown capability 'x:od', did you mean 'x:do'?"),
    "passphrase-alone": ("[issuer]\npassphrase = 'env://P'\n", 2, "passphrase needs key beside it, the file that it opens"),
    "audit-passphrase-alone": ("[audit]\npath = 'a'\npassphrase = 'env://P'\n", 3, "passphrase needs key beside it, the file that it opens"),
    "keep-alone": ("[audit]\npath = 'a'\nkeep = 3\n", 3, "keep needs max_bytes beside it, at which a new file is begun"),
    "audience-alone": ("[guard]\nrequire_chain_audience = true\n", 2,
                       "require_chain_audience needs audience beside it, the name of this enforcement point"),
}  # fmt: skip

LIMITS = {
    "empty": (agent("limits = {}"), 3, "limits is empty; name at least one, or leave the line out"),
    "empty-one": (agent("limits = { 'x:do' = {} }"), 3, "a limit is empty; name at least one, or leave the line out"),
    "number": (agent("limits = { 'x:do' = 3 }"), 3, "a limit must be a table, not a whole number"),
    "uses": (agent("limits = { 'x:do' = { max_uses = 0 } }"), 3, "Limit: max_uses must be a whole number of 1 or more"),
    "rate": (agent("limits = { 'x:do' = { rate = '10' } }"), 3, "rate '10' must be uses per time, such as '10/m' or '3/30s'"),
    "unknown": (agent("limits = { 'x:do' = { max_use = 3 } }"), 3, "unknown key of a limit 'max_use', did you mean 'max_uses'?"),
    "budget-empty": (agent("limits.'x:do' = { max_uses = 1, budget = {} }"), 3, "budget is empty; name at least one, or leave the line out"),
    "budget-nan": (agent("limits.'x:do'.budget.n = nan"), 3, "nan and inf are no numbers that an argument can have"),
    "budget-zero": (agent("limits.'x:do'.budget.n = 0"), 3,
                    "budget of 'n' must be more than 0 and at most 9007199254, with at most six decimals"),
    "budget-of-nothing": ("[agents.a]\ncapabilities = [{ capability = 'x:do', arguments = { amount = { max = 9 } } }]\nlimits.'x:do'.budget.amout = 9\n", 3, "'x:do' is not given an argument 'amout', did you mean 'amount'?"),
}  # fmt: skip


def spelled(constraint: str) -> str:
    """A policy file whose line 2 is a constraint on the argument `n`."""
    return f"[agents.a]\ncapabilities = [{{ capability = 'x:do', arguments = {{ n = {constraint} }} }}]\n"


CONSTRAINTS = {
    "unknown": ("{ one_off = ['a'] }", "unknown constraint 'one_off', did you mean 'one_of'?"),
    "unknown-far": ("{ regex = '.*' }", "unknown constraint 'regex'"),
    "python-name": ("{ OneOf = ['a'] }", "unknown constraint 'OneOf', did you mean 'one_of'?"),
    "list": ("['a', 'b']", "a list is no constraint; write { one_of = [...] }, or { subset = [...] } for a list of these"),
    "empty": ("{}", "names no constraint; write { anything = true } to allow any value"),
    "optional-alone": ("{ optional = true }", "names no constraint; write { anything = true } to allow any value"),
    "optional-text": ("{ exact = 1, optional = 'yes' }", "optional must be true or false, not text"),
    "two": ("{ prefix = 'a', max_length = 9 }", "has more than one constraint (max_length, prefix); write { all_of = [...] }"),
    "range-and": ("{ max = 9, one_of = [1] }", "has more than one constraint (max, one_of); write { all_of = [...] }"),
    "range-key": ("{ maximum = 9 }", "unknown constraint 'maximum', did you mean 'max'?"),
    "range-inner-key": ("{ range = { maxi = 9 } }", "unknown key of a range 'maxi', did you mean 'max'?"),
    "range-empty": ("{ range = {} }", "range is empty; name at least one, or leave the line out"),
    "range-no-bound": ("{ min_inclusive = false }", "Range: needs min, max or both; use Anything() to allow any value"),
    "range-crossed": ("{ min = 2, max = 1 }", "Range: has a min greater than its max"),
    "range-text": ("{ max = '9' }", "Range: has a max that is not a number"),
    "date": ("2027-01-01", "a date has no form in JSON; write it as text, the way the tool is given it"),
    "datetime": ("2027-01-01T00:00:00Z", "a date has no form in JSON; write it as text, the way the tool is given it"),
    "time": ("07:00:00", "a time has no form in JSON; write it as text, the way the tool is given it"),
    "date-inside": ("{ one_of = ['a', 2027-01-01] }", "a date has no form in JSON; write it as text, the way the tool is given it"),
    "date-deep": ("{ any_of = [{ exact = 07:00:00 }] }", "a time has no form in JSON; write it as text, the way the tool is given it"),
    "nan": ("nan", "nan and inf are no numbers that an argument can have"),
    "inf-inside": ("{ max = inf }", "nan and inf are no numbers that an argument can have"),
    "huge": ("9007199254740993", "Exact: a value holds a number that a double cannot represent"),
    "exact-list": ("{ exact = ['a'] }", "exact takes one plain value, not a list"),
    "one-of-empty": ("{ one_of = [] }", "one_of is empty; name at least one, or leave the line out"),
    "one-of-text": ("{ one_of = 'abc' }", "one_of must be a list, not text"),
    "not-one-of-empty": ("{ not_one_of = [] }", "not_one_of is empty; name at least one, or leave the line out"),
    "contains-text": ("{ contains = 'abc' }", "contains must be a list, not text"),
    "subset-empty": ("{ subset = [] }", "subset is empty; name at least one, or leave the line out"),
    "all-empty": ("{ all_of = [] }", "all_of is empty; name at least one, or leave the line out"),
    "any-empty": ("{ any_of = [] }", "any_of is empty; name at least one, or leave the line out"),
    "any-optional": ("{ any_of = [{ exact = 1, optional = true }] }", "only an argument or a field can be optional, not a clause inside"),
    "any-wire-optional": ("{ any_of = [{ constraint_type = 'exact', value = 1, optional = true }] }",
                          "only an argument or a field can be optional, not a clause inside"),
    "anything-false": ("{ anything = false }", "anything must be true; leave the argument out to refuse it"),
    "path": ("{ path = 'relative' }", "Path: 'relative' is not a plain absolute path"),
    "path-dots": ("{ path = '/a/../b' }", "Path: '/a/../b' is not a plain absolute path"),
    "url": ("{ url = 'example.com' }", "Url: 'example.com' is not a plain scheme://host[:port][/path]"),
    "email": ("{ email = 'a@b.example' }", "Email: 'a@b.example' is not a domain in lower case"),
    "cidr": ("{ cidr = '10.0.0.1/8' }", "Cidr: '10.0.0.1/8' is not a network in canonical form"),
    "prefix": ("{ prefix = '' }", "Prefix: needs one to 4096 characters"),
    "prefix-number": ("{ prefix = 7 }", "Prefix: takes a string, not <int>"),
    "max-length": ("{ max_length = -1 }", "MaxLength: has a max that is not a whole number of zero or more"),
    "max-length-flag": ("{ max_length = true }", "MaxLength: has a max that is not a whole number of zero or more"),
    "each-unknown": ("{ each = { mxa = 1 } }", "unknown constraint 'mxa', did you mean 'max'?"),
    "fields-empty": ("{ fields = {} }", "fields is empty; name at least one, or leave the line out"),
    "wire-type": ("{ constraint_type = 'regex' }", "the constraint is of a type this verifier does not know, 'regex'"),
    "wire-member": ("{ constraint_type = 'exact', value = 1, extra = 2 }", "the constraint has a member that its type does not define"),
    "wire-date": ("{ constraint_type = 'exact', value = 2027-01-01 }", "a date has no form in JSON; write it as text, the way the tool is given it"),
}  # fmt: skip

CAPABILITIES = {
    "nameless": ("{ arguments = { n = 1 } }", 'a capability needs its name: { capability = "..." }'),
    "empty": ("{}", 'a capability needs its name: { capability = "..." }'),
    "key": ("{ capability = 'x', argumets = { n = 1 } }", "unknown key of a capability 'argumets', did you mean 'arguments'?"),
    "no-arguments": ("{ capability = 'x', arguments = {} }", "arguments is empty; leave it out to allow any arguments"),
    "arguments-list": ("{ capability = 'x', arguments = ['n'] }", "arguments must be a table, not a list"),
    "argument-blank": ("{ capability = 'x', arguments = { '' = 1 } }", "an argument must not be blank"),
    "argument-star": ("{ capability = 'x', arguments = { '*' = { anything = true } } }",
                      "capability 'x': use with_other_arguments() to allow other arguments"),
    "others-alone": ("{ capability = 'x', other_arguments = true }", "other_arguments needs arguments beside it; without, any arguments are allowed"),
    "others-text": ("{ capability = 'x', arguments = { n = 1 }, other_arguments = 'no' }", "other_arguments must be true or false, not text"),
    "name-number": ("{ capability = 7 }", "a capability must be a string, not <int>"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        pytest.param(*case, id=f"{i}-{name}")
        for i, table in enumerate([TABLES, VALUES, NAMES, LIMITS])
        for name, case in table.items()
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    assert refusal(text) == f"remit.toml:{line}: {what}"


@pytest.mark.parametrize(("constraint", "what"), CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_constraint_that_makes_no_sense_is_refused(constraint: str, what: str) -> None:
    assert refusal(spelled(constraint)) == f"remit.toml:2: {what}"


@pytest.mark.parametrize(("capability", "what"), CAPABILITIES.values(), ids=CAPABILITIES)
def test_a_capability_that_makes_no_sense_is_refused(capability: str, what: str) -> None:
    assert refusal(f"[scopes]\nS = [\n{capability}]\n") == f"remit.toml:3: {what}"


def test_a_problem_deep_inside_has_the_line_where_it_is() -> None:
    text = """\
[agents.a]
capabilities = [
    { capability = "x:do", arguments = { n = { any_of = [
        { prefix = "a" },
        { all_of = [
            { max_length = 3 },
            { prefixx = "b" },
        ] },
    ] } } },
]
"""
    assert refusal(text) == "remit.toml:7: unknown constraint 'prefixx', did you mean 'prefix'?"


def test_a_grant_that_no_token_has_room_for_is_refused_when_it_is_read() -> None:
    names = ", ".join(f"'capability-number:{i:05}'" for i in range(4000))
    assert refusal(f"\n[agents.a]\ncapabilities = [{names}]\n") == (
        "remit.toml:2: the token would be larger than 65536 bytes; grant less in one token"
    )


def test_constraints_that_nest_too_deeply_are_refused() -> None:
    inner = "{ prefix = 'a' }"
    for _ in range(31):
        inner = f"{{ each = {inner} }}"
    assert load_of(spelled(inner)).agents
    assert "may nest 32 deep" in refusal(spelled(f"{{ each = {inner} }}"))
    assert "nests more than 32 deep" in refusal(spelled(f"{{ fields = {{ a = {inner} }} }}"))


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = """\
[agents.b]
capabilities = ["y:do", "", 7]
ttl = "soon"
limits = { "y:od" = { max_uses = 1 } }
[agents.a]
capabilities = ["x:do", { capability = "z", arguments = { n = { mx = 1 }, m = {} } }]
scope = ["NONE"]
ttl = "10m"
secrets = ["K"]
[agents.c]
capabilities = ["x:do"]
ttl = "1 hour"
delegate_only = ["x:od"]
limits = { "x:od" = { max_uses = 1 } }
[scopes]
READ = []
[ledgr]
"""
    assert refusal(text).splitlines() == [
        "remit.toml:2: a capability must not be blank",
        "remit.toml:2: a capability must be text or a table, not a whole number",
        "remit.toml:3: ttl 'soon' must be a number and a unit: 30s, 15m, 2h or 7d",
        "remit.toml:6: unknown constraint 'mx', did you mean 'max'?",
        "remit.toml:6: names no constraint; write { anything = true } to allow any value",
        "remit.toml:7: unknown scope 'NONE'",
        "remit.toml:9: unknown secret 'K'; give it a reference in [secrets]",
        "remit.toml:12: ttl '1 hour' must be a number and a unit: 30s, 15m, 2h or 7d",
        "remit.toml:13: unknown capability 'x:od', did you mean 'x:do'?",
        "remit.toml:13: delegate_only needs a max_depth of 1 or more, or it can be neither used nor passed on",
        "remit.toml:14: unknown capability 'x:od', did you mean 'x:do'?",
        "remit.toml:16: scope 'READ' is empty; name at least one, or leave the line out",
        "remit.toml:17: unknown table 'ledgr', did you mean 'ledger'?",
    ]


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    told = refusal("".join(f"[table{i}]\n" for i in range(500))).splitlines()
    assert len(told) == 51
    assert told[-1] == "remit.toml: and 450 more"


def test_very_many_misspelt_names_are_refused_in_a_moment() -> None:
    names = ", ".join(f"'capability:{i:05}'" for i in range(4000))
    text = f"[capabilities]\n'capability:x' = {{}}\n[scopes]\nA = [{names}]\n"
    assert len(refusal(text).splitlines()) == 51


# ── files that are none ─────────────────────────────────────────────────────────────────────────────────────

FILES = {
    "empty-key": (b"= 1\n", "remit.toml:1: is not valid TOML: Invalid statement"),
    "syntax": (b"[issuer]\n\nuri = https://a\n", "remit.toml:3: is not valid TOML: Invalid value"),
    "twice": (b"[issuer]\n[ledger]\n[issuer]\n", "remit.toml:3: is not valid TOML: Cannot declare ('issuer',) twice"),
    "key-twice": (b"[issuer]\nuri = ''\nuri = ''\n", "remit.toml:3: is not valid TOML: Cannot overwrite a value"),
    "unclosed": (b"[agents.a]\ncapabilities = [\n'x'\n", "remit.toml:3: is not valid TOML: Unclosed array"),
    "nul": (b"a = 1\n\0\n", "remit.toml:2: is not valid TOML: Invalid statement"),
    "utf-16": ("[issuer]\n".encode("utf-16"), "remit.toml:1: is not UTF-8"),
    "latin-1": (b"[issuer]\n# caf\xe9\n", "remit.toml:2: is not UTF-8"),
    "bom": (b"\xef\xbb\xbf[issuer]\n", "remit.toml:1: starts with a byte order mark; save it as UTF-8 without one"),
    "surrogate": (b"a = '\xed\xa0\x80'\n", "remit.toml:1: is not UTF-8"),
    "large": (b"#" * (MAX_SIZE + 1), "remit.toml: is larger than 256 KiB"),
    "number": (b"a = " + b"9" * 5000, "remit.toml: holds a number with too many digits"),
    "deep-array": (b"a = " + b"[" * 5000 + b"]" * 5000, "remit.toml: nests too deeply"),
    "deep": (b"\n[a]\nb = " + b"[" * 120 + b"]" * 120, "remit.toml:3: nests too deeply"),
    "deep-table": (b"\n\n[a" + b".a" * 120 + b"]\n", "remit.toml:3: a key has too many parts"),
    "deep-key": (b"a" + b".a" * 60_000 + b" = 1\n", "remit.toml:1: a key has too many parts"),
    "deep-quoted-key": (b"x = 1\n" + b'"\\"" . ' * 30_000 + b"a = 1\n", "remit.toml:2: a key has too many parts"),
    "deep-literal-key": (b"x = {" + b"'\"'." * 30_000 + b"a = 1}\n", "remit.toml:1: a key has too many parts"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "what"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_toml_is_refused_in_a_moment(data: bytes, what: str) -> None:
    assert refusal(data) == what


@pytest.mark.parametrize(
    "piece",
    [
        b'"',
        b'\\"',
        b"'",
        b"a",
        b"a.",
        b'"a',
        b"'a'",
        b'"\\"',
        b"a ",
        b'"" ',
        b"= ",
        b"[",
        b"{a=",
        b"#",
        b"\\",
    ],
)
def test_no_text_keeps_the_reader_busy(piece: bytes) -> None:
    data = b"x = " + piece * (200_000 // len(piece))
    assert refusal(data).startswith("remit.toml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    cases = {
        "absent.toml": "absent.toml: cannot be read: No such file or directory",
        str(tmp_path): f"{tmp_path}: cannot be read: it is a directory",
        "/dev/null": "/dev/null: cannot be read: it is not a regular file",
    }
    for path, what in cases.items():
        with pytest.raises(remit.ConfigError) as caught:
            load(path)
        assert str(caught.value) == what


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system are POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(remit.ConfigError, match="it is not a regular file"):
        load(tmp_path / "pipe")


@pytest.mark.parametrize("path", [7, "", " ", "a\0b", b"remit.toml", ["remit.toml"], "x" * 5000, object()])
def test_a_path_that_is_none_is_refused(path: object) -> None:
    with pytest.raises(remit.ConfigError):
        load(path)  # type: ignore[arg-type]


def test_a_name_that_is_not_fit_for_a_terminal_is_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.toml"
    path.write_text("[x]\n")
    with pytest.raises(remit.ConfigError) as caught:
        load(path.name)
    assert "\x1b" not in str(caught.value)
    assert str(caught.value).endswith(":1: unknown table 'x'")


def test_the_file_is_that_of_the_environment_or_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("remit.toml").write_text("[agents.here]\ncapabilities = ['x:do']\n")
    Path("other.toml").write_text("[agents.there]\ncapabilities = ['x:do']\n")
    assert list(load().agents) == ["here"]
    monkeypatch.setenv("REMIT_CONFIG", "other.toml")
    assert list(load().agents) == ["there"]
    assert list(load("remit.toml").agents) == ["here"]
    monkeypatch.setenv("REMIT_CONFIG", " ")
    with pytest.raises(remit.ConfigError, match="REMIT_CONFIG is blank"):
        load()


def test_without_pydantic_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("remit.toml").write_text("")
    for name in list(sys.modules):
        if name.partition(".")[0] == "pydantic" or name in {"remit.config.policy", "remit.config.schema"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(remit.ConfigError, match=r"pip install 'remit\[config\]'"):
        load()

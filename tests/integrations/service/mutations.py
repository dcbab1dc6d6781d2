"""The mechanisms of the ASGI middleware, to be taken away one by one: does a test notice?

    python tests/integrations/service/mutations.py [WORD…]

`tests/integrations/mutation.py` says how that is done.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
if not __package__:  # run as a script
    sys.path.append(str(HERE.parents[1]))
    __package__ = "integrations.service"

from ..mutation import Mutation, main  # noqa: E402, TID252 - one engine for the tables of all adapters

SOURCES: Final = ("core/remit", "integrations/remit_service")
MIDDLEWARE: Final = "integrations/remit_service/middleware.py"
TABLE: Final = "integrations/remit_service/table.py"
REQUEST: Final = "integrations/remit_service/request.py"
REFUSAL: Final = "integrations/remit_service/refusal.py"

MUTATIONS: Final = (
    # The middleware
    Mutation("a websocket goes through", MIDDLEWARE, '== "lifespan":', 'in {"lifespan", "websocket"}:'),
    Mutation(
        "an unknown scope goes through", MIDDLEWARE, '== "lifespan":', 'in {"lifespan", "webtransport"}:'
    ),
    Mutation("the lifespan does not", MIDDLEWARE, '== "lifespan":', '== "life":'),
    Mutation("another code closes a websocket", MIDDLEWARE, '"code": 1008', '"code": 1000'),
    Mutation("what is bound outside stays bound", MIDDLEWARE, "with remit.unbound():", "if True:"),
    Mutation(
        "the guard is asked on the loop", MIDDLEWARE, "await asyncio.wrap_future(work)", "work.result()"
    ),
    Mutation(
        "what was given up is not recorded",
        MIDDLEWARE,
        "work.add_done_callback(partial(_give_up, reason))",
        "pass",
    ),
    Mutation(
        "the application runs outside the permit",
        MIDDLEWARE,
        "suppress(RequestFailed), permit:",
        "suppress(RequestFailed):",
    ),
    Mutation(
        "an error that is answered is a success",
        MIDDLEWARE,
        "if not complete or status >= _FAILED:",
        "if not complete:",
    ),
    Mutation(
        "half an answer is a success",
        MIDDLEWARE,
        "if not complete or status >= _FAILED:",
        "if status >= _FAILED:",
    ),
    Mutation("a failure is only from 500 on", MIDDLEWARE, "_FAILED: Final = 400", "_FAILED: Final = 500"),
    Mutation(
        "a denial inside is no answer", MIDDLEWARE, "            if status:\n", "            if True:\n"
    ),
    Mutation(
        "a denial inside is answered twice", MIDDLEWARE, "            if status:\n", "            if False:\n"
    ),
    Mutation(
        "the application gets what was sent",
        MIDDLEWARE,
        "self._app(inner, replayed, watched)",
        "self._app(scope, replayed, watched)",
    ),
    Mutation(
        "the application reads on",
        MIDDLEWARE,
        "self._app(inner, replayed, watched)",
        "self._app(inner, receive, watched)",
    ),
    Mutation(
        "the application cannot wait for the client",
        MIDDLEWARE,
        "waiting.pop() if waiting else await receive()",
        "waiting.pop()",
    ),
    Mutation(
        "anything is a guard", MIDDLEWARE, "if not isinstance(guard, remit.Guard):", "if guard is False:"
    ),
    # The table
    Mutation("a table may guard nothing", TABLE, "if not guarded:", "if guarded is None:"),
    Mutation(
        "what is public goes first",
        TABLE,
        "(*guarded, *(_entry(text, None) for text in public))",
        "(*(_entry(text, None) for text in public), *guarded)",
    ),
    Mutation("a path begins anyhow", TABLE, 'not path.startswith("/") or ', ""),
    Mutation("an odd path is looked up", TABLE, "_ODD.search(path) or ", ""),
    Mutation("an encoded slash is a slash", TABLE, 'or _HIDDEN.search(scope.get("raw_path") or b"")', ""),
    Mutation("a raw path is needed", TABLE, 'scope.get("raw_path") or b""', 'scope["raw_path"]'),
    Mutation("the root path is not taken away", TABLE, "path.removeprefix(root)", "path"),
    Mutation(
        "half a segment is taken away",
        TABLE,
        '        if below and not below.startswith("/"):\n            below = path\n',
        "",
    ),
    Mutation("a path is matched from its beginning", TABLE, "pattern.fullmatch(f", "pattern.match(f"),
    Mutation(
        "the method does not matter",
        TABLE,
        "entry.pattern.fullmatch(f\"{scope['method']} {below}\")",
        'entry.pattern.fullmatch(f"{entry.pattern.pattern.split()[0]} {below}")',
    ),
    Mutation("a method may be in small letters", TABLE, "{scope['method']}", "{scope['method'].upper()}"),
    Mutation(
        "what no entry names is open",
        TABLE,
        'raise Refusal("No capability is for this method and path.", 403, "capability_missing")',
        'return Entry(re.compile(""), None, None), {}',
    ),
    Mutation("an entry is a pattern", TABLE, "re.escape(part)", "part"),
    Mutation("a parameter has slashes", TABLE, "[^/]+", ".+"),
    Mutation("a parameter may be empty", TABLE, "[^/]+", "[^/]*"),
    Mutation("an entry may be odd", TABLE, " or _ODD.search(text)", ""),
    Mutation("an entry begins so", TABLE, "_ENTRY.fullmatch(text)", "_ENTRY.match(text)"),
    Mutation("an argument may be named twice", TABLE, "len(set(names)) < len(names) or ", ""),
    Mutation("an argument may be in path and query", TABLE, "[*parts[1::2], *beside]", "parts[1::2]"),
    Mutation(
        "two names of a query may be one", TABLE, "[*parts[1::2], *beside]", "[*parts[1::2], *set(beside)]"
    ),
    Mutation("what is public may name a query", TABLE, "(capability is None or method", "(method"),
    Mutation("an entry without a body may name a query", TABLE, " or method not in _WITH_BODY)", ")"),
    Mutation("one name is beside the body", TABLE, 'query.split("&")', "[query]"),
    Mutation("a POST has its arguments in the query", TABLE, '{"POST", "PUT", "PATCH"}', '{"PUT", "PATCH"}'),
    Mutation("a PUT has its arguments in the query", TABLE, '{"POST", "PUT", "PATCH"}', '{"POST", "PATCH"}'),
    Mutation("a PATCH has its arguments in the query", TABLE, '{"POST", "PUT", "PATCH"}', '{"POST", "PUT"}'),
    Mutation(
        "a DELETE has its arguments in the body",
        TABLE,
        '{"POST", "PUT", "PATCH"}',
        '{"POST", "PUT", "PATCH", "DELETE"}',
    ),
    Mutation("all arguments are in the body", TABLE, " if method in _WITH_BODY else None)", ")"),
    Mutation("what an entry names is not beside it", TABLE, "set(beside) if", "set() if"),
    Mutation("a capability may be anything", TABLE, "remit.Capability(name).name", "name"),
    Mutation("backslashes are in order", TABLE, "\\x7f\\\\\\ufffd]", "\\x7f\\ufffd]"),
    Mutation("control characters are in order", TABLE, "[\\x00-\\x1f\\x7f", "[\\x00\\x7f"),
    Mutation("what was no UTF-8 is in order", TABLE, "\\ufffd]", "]"),
    Mutation("what is encoded twice is in order", TABLE, "|%[0-9A-Fa-f]{2}|", "|"),
    Mutation("empty segments are in order", TABLE, "/(?:\\.{1,2})?(?=/)", "/(?:\\.{1,2})(?=/)"),
    Mutation("a last segment of dots is in order", TABLE, "|/\\.{1,2}$", ""),
    Mutation("only small letters hide a slash", TABLE, ', re.IGNORECASE)\n"""A slash', ')\n"""A slash'),
    # What is read
    Mutation(
        "arguments of the path do not count", REQUEST, "[*path.items(), *query.items(),", "[*query.items(),"
    ),
    Mutation("arguments of the query do not count", REQUEST, "*query.items(), *(body", "*(body"),
    Mutation("arguments of the body do not count", REQUEST, ", *(body or {}).items()]", "]"),
    Mutation(
        "the last of a name counts",
        REQUEST,
        "if len(dict(pairs)) < len(pairs):",
        "if not isinstance(pairs, list):",
    ),
    Mutation(
        "headers are told apart by case",
        REQUEST,
        "[(name.lower(), value) for name, value",
        "[(name, value) for name, value",
    ),
    Mutation(
        "a query parameter may be blank", REQUEST, '"strict_parsing": bool(text)', '"strict_parsing": False'
    ),
    Mutation("a query may be no UTF-8", REQUEST, '"errors": "strict"', '"errors": "replace"'),
    Mutation(
        "a query without a value is lost", REQUEST, '"keep_blank_values": True', '"keep_blank_values": False'
    ),
    Mutation(
        "two lengths are in order",
        REQUEST,
        ' or {b"content-length", b"transfer-encoding"} <= given.keys()',
        "",
    ),
    Mutation("a length is anything", REQUEST, "not _LENGTH.fullmatch(length) or ", ""),
    Mutation(
        "what is announced does not count",
        REQUEST,
        "while more and max(int(length), len(data)) <= MAX_BODY:",
        "while more and len(data) <= MAX_BODY:",
    ),
    Mutation(
        "what comes does not count",
        REQUEST,
        "if max(int(length), len(data)) > MAX_BODY:",
        "if int(length) > MAX_BODY:",
    ),
    Mutation("a body is waited for", REQUEST, "asyncio.timeout(_PATIENCE)", "asyncio.timeout(None)"),
    Mutation(
        "half a request is one",
        REQUEST,
        'raise Refusal("The client left before its request was whole.")',
        "break",
    ),
    Mutation("a body may be coded", REQUEST, 'b"content-encoding" in given or ', ""),
    Mutation(
        "a body may be of any type", REQUEST, ' or not _JSON.fullmatch(given.get(b"content-type", b""))', ""
    ),
    Mutation("a type begins so", REQUEST, "_JSON.fullmatch(", "_JSON.match("),
    Mutation("a member may be there twice", REQUEST, "object_pairs_hook=_once, ", ""),
    Mutation("NaN is a number", REQUEST, ", parse_constant=_no_number", ""),
    Mutation(
        "a body is in order where the arguments are in the query",
        REQUEST,
        "if beside is None and body is not None:",
        "if beside is None and body and not query:",
    ),
    Mutation(
        "an empty body is in order where the arguments are in the query",
        REQUEST,
        "if beside is None and body is not None:",
        "if beside is None and body:",
    ),
    Mutation(
        "a query is in order where the arguments are in the body",
        REQUEST,
        "(query.keys() - beside or beside & (body or {}).keys())",
        "beside & (body or {}).keys()",
    ),
    Mutation(
        "no query is in order beside a body",
        REQUEST,
        "(query.keys() - beside or beside & (body or {}).keys())",
        "(query or beside & (body or {}).keys())",
    ),
    Mutation(
        "any query is in order where an entry names one",
        REQUEST,
        "(query.keys() - beside or ",
        "(query and not beside or ",
    ),
    Mutation(
        "an argument of the query may be in the body",
        REQUEST,
        "(query.keys() - beside or beside & (body or {}).keys())",
        "query.keys() - beside",
    ),
    Mutation(
        "an argument of the query may be in the body where it is not in the query",
        REQUEST,
        "beside & (body or {}).keys())",
        "query.keys() & (body or {}).keys())",
    ),
    Mutation("a header overrides the method", MIDDLEWARE, "if not OVERRIDE.fullmatch(each[0])]", "]"),
    Mutation("a name that begins so is taken away", MIDDLEWARE, "OVERRIDE.fullmatch(", "OVERRIDE.match("),
    Mutation(
        "a header in capital letters overrides it", REQUEST, 'override)", re.IGNORECASE)', 'override)")'
    ),
    Mutation("X-HTTP-Method overrides it", REQUEST, "(?:[-_]override)?", "[-_]override"),
    Mutation("X-Method-Override overrides it", REQUEST, "|method[-_]override)", ")"),
    Mutation("X_HTTP_Method_Override overrides it", REQUEST, 'rb"x[-_](', 'rb"x[-]('),
    Mutation("a body in any encoding", REQUEST, 'json.loads(data.decode("utf-8"), ', "json.loads(data, "),
    Mutation("any JSON is a body", REQUEST, ' if isinstance(found, dict) else _no_number("no object")', ""),
    Mutation(
        "depth breaks it",
        REQUEST,
        "    except (ValueError, RecursionError):\n        raise",
        "    except ValueError:\n        raise",
    ),
    Mutation(
        "a header that breaks it",
        REQUEST,
        "    except (ValueError, RecursionError, Refusal):",
        "    except ZeroDivisionError:",
    ),
    Mutation("a header with more members", REQUEST, "found.keys() == _MEMBERS", "True"),
    Mutation("base64url with anything in it", REQUEST, ", validate=True", ""),
    Mutation("presentations in both places", REQUEST, "if body or _HEADER in given or ", "if body or "),
    Mutation(
        "more beside the presentation", REQUEST, "if body or _HEADER in given or ", "if _HEADER in given or "
    ),
    Mutation("arguments are anything", REQUEST, " or not isinstance(arguments, dict):", ":"),
    Mutation("half a presentation is none", REQUEST, "body.keys() & _MEMBERS:", "body.keys() >= _MEMBERS:"),
    Mutation("the query is handed on as it came", REQUEST, '"query_string": query, ', ""),
    Mutation("the headers are handed on as they came", REQUEST, '"headers": own, ', ""),
    Mutation("the presentation is handed on", REQUEST, "_ONCE: Final = {_HEADER, ", "_ONCE: Final = {"),
    Mutation("the application has no permit", REQUEST, ', "remit": permit}', "}"),
    Mutation("the body is of the old length", REQUEST, 'b"%d" % len(body))]', 'b"7")]'),
    Mutation(
        "the body is handed on with all arguments", REQUEST, "for name in self.body}", "for name in checked}"
    ),
    # What is answered
    Mutation("nobody knows is forbidden", REFUSAL, "503 if refused.code in _UNKNOWN else ", ""),
    Mutation(
        "a bad token is forbidden", REFUSAL, "401 if isinstance(refused, remit.TokenRejected) else 403", "403"
    ),
    Mutation(
        "what is forbidden is a bad token",
        REFUSAL,
        "401 if isinstance(refused, remit.TokenRejected) else 403",
        "401",
    ),
    Mutation("an answer may be kept", REFUSAL, 'headers += [(b"cache-control", b"no-store")]', "pass"),
    Mutation("no scheme is told", REFUSAL, "if status in {401, 403}:", "if status == 403:"),
    Mutation("no scheme is told to the forbidden", REFUSAL, "if status in {401, 403}:", "if status == 401:"),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MUTATIONS, tests=HERE, sources=SOURCES))

"""The house rules that no other tool checks; run by ``make check``.

1. No file of shipped code is over 400 lines, no function over 60.
2. No ``assert`` in shipped code: ``python -O`` removes it.
3. Nothing catches every exception without a comment, on its line or the line before, that says why nothing
   narrower will do. A ``noqa`` is no reason.
4. Adapters and examples use ``remit`` by its public names (``remit.__all__``); no adapter imports another.
5. An adapter has under 250 lines of code in all; blank lines, comments and docstrings do not count.

Prints each offence as ``path:line: what`` and exits with 1 when there is one.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("core", "integrations", "examples")
OUTSIDE_CORE = ("integrations", "examples")
PUBLIC = Path("core/remit/__init__.py")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_ADAPTER_LINES = 249
NO_CODE = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
CATCH_ALL = frozenset({"Exception", "BaseException"})
DIRECTIVE = re.compile(
    r"#?\s*(noqa\b(:\s*[A-Z]+[0-9]+([,\s]+[A-Z]+[0-9]+)*)?|(type|pyright):\s*ignore(\[[^\]]*\])?|pragma:[^#]*)"
)

Offence = tuple[int, str]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check_sizes(tree: ast.Module, source: str) -> Iterator[Offence]:
    """Rule 1."""
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield 1, f"{lines} lines, more than {MAX_FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name}() has {length} lines, more than {MAX_FUNCTION_LINES}"


def check_asserts(tree: ast.Module) -> Iterator[Offence]:
    """Rule 2."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert in shipped code"


def check_catch_all(tree: ast.Module, source: str) -> Iterator[Offence]:
    """Rule 3."""
    comments = reasons(source)
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler | ast.Call) and catches_all(node):
            line = node.lineno
            before = comments.get(line - 1, "") if lines[line - 2].lstrip().startswith("#") else ""
            if not (comments.get(line) or before):
                yield line, "catches every exception without a comment that says why"


def catches_all(node: ast.AST) -> bool:
    """Whether ``node`` is an ``except`` or a ``suppress`` that any exception goes into."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            return any(last_name(kind) in CATCH_ALL for kind in kinds)
        case ast.ExceptHandler(type=kind):
            return last_name(kind) in CATCH_ALL
        case ast.Call(func=function, args=kinds) if last_name(function) == "suppress":
            return any(last_name(kind) in CATCH_ALL for kind in kinds)
    return False


def last_name(node: ast.AST | None) -> str:
    """``c`` of ``a.b.c``, and nothing of what is not a name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def reasons(source: str) -> dict[int, str]:
    """The comment of each line that has one, without what only speaks to a tool."""
    found: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found[token.start[0]] = DIRECTIVE.sub("", token.string).strip("# :;,.-\N{EN DASH}\N{EM DASH}\t")
    return found


def check_imports(
    tree: ast.Module, public: frozenset[str], own: str, siblings: frozenset[str]
) -> Iterator[Offence]:
    """Rule 4."""
    aliases: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                aliases |= {alias.asname or alias.name for alias in names if alias.name == "remit"}
                for alias in names:
                    yield from check_module(node.lineno, alias.name, own, siblings)
            case ast.ImportFrom(module="remit", names=names, level=0):
                for alias in names:
                    if alias.name not in public:
                        yield node.lineno, f"remit.{alias.name} is not a public name"
            case ast.ImportFrom(module=str(module), level=0):
                yield from check_module(node.lineno, module, own, siblings)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=base), attr=used) if base in aliases and used not in public:
                yield node.lineno, f"remit.{used} is not a public name"


def check_module(line: int, module: str, own: str, siblings: frozenset[str]) -> Iterator[Offence]:
    """Rule 4, for one imported module."""
    if module.startswith("remit."):
        yield line, f"imports {module}, a part of remit, where `import remit` has all that is public"
    top = module.partition(".")[0]
    if top in siblings and top != own:
        yield line, f"imports {top}, another adapter"


def code_lines(source: str) -> int:
    """Rule 5, for one file: how many lines hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def check_adapters(adapters: frozenset[str]) -> Iterator[str]:
    """Rule 5."""
    for adapter in sorted(adapters):
        files = (ROOT / "integrations" / adapter).rglob("*.py")
        lines = sum(code_lines(path.read_text(encoding="utf-8")) for path in files)
        if lines > MAX_ADAPTER_LINES:
            yield f"integrations/{adapter}: {lines} lines of code, more than {MAX_ADAPTER_LINES}"


def public_names(source: str) -> frozenset[str]:
    """The names in ``__all__``, which must be one literal list or tuple of strings."""
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return frozenset(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return frozenset(ast.literal_eval(value))
    raise SystemExit(f"{PUBLIC}: has no __all__")


def offences(path: Path, public: frozenset[str], adapters: frozenset[str]) -> Iterator[Offence]:
    """What is wrong with one file."""
    source = (ROOT / path).read_text(encoding="utf-8")
    tree = ast.parse(source, filename=str(path))
    yield from check_sizes(tree, source)
    yield from check_asserts(tree)
    yield from check_catch_all(tree, source)
    if path.parts[0] in OUTSIDE_CORE:
        # An example may use any adapter; an adapter none but itself.
        siblings = adapters if path.parts[0] == "integrations" else frozenset[str]()
        yield from check_imports(tree, public, path.parts[1], siblings)


def main() -> int:
    """Check every shipped file; the exit status."""
    public = public_names((ROOT / PUBLIC).read_text(encoding="utf-8"))
    adapters = frozenset(folder.name for folder in (ROOT / "integrations").iterdir() if folder.is_dir())
    files = sorted(path.relative_to(ROOT) for top in SHIPPED for path in (ROOT / top).rglob("*.py"))
    if not files:
        print("house: no files found to check")
        return 1
    found = [f"{path}:{line}: {what}" for path in files for line, what in offences(path, public, adapters)]
    found += check_adapters(adapters)
    print("\n".join([*found, f"house: {len(files)} files, {len(found)} offences"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

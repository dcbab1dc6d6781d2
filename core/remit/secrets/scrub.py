"""Keeping secrets out of what a tool returns, yields or raises."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from copy import copy
from datetime import date, time, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from remit.secrets.value import Secret

__all__ = ["Scrubber"]

_MAX_DEPTH: Final = 150
_SURE_BYTES: Final = 8
"""From this length on, an encoded secret is not found in text by chance."""
_TOO_DEEP: Final = "[too deep to be cleaned of secrets]"
# A tool returns anything: these are looked for without saying more about what was found than that.
_ATOMS: Final[Any] = (int, float, complex, Decimal, date, time, timedelta, type, type(None))
_BYTES: Final[Any] = (bytes, bytearray, memoryview)
_BUFFERS: Final[Any] = (BytesIO, StringIO)
_DICTS: Final[Any] = dict
_ERRORS: Final[Any] = BaseException
_ITERATORS: Final[Any] = Iterator
_MAPPINGS: Final[Any] = Mapping
_SEQUENCES: Final[Any] = MutableSequence
_PYDANTIC: Final = frozenset({"__pydantic_extra__", "__pydantic_private__"})
_SLOTS: Final = (MemberDescriptorType,)
_ERROR_SLOTS: Final = (MemberDescriptorType, GetSetDescriptorType)
_REBUILT: Final = frozenset({tuple, set, frozenset})


class Scrubber:
    """Replaces the values of the secrets of one call, wherever text carries them.

    It knows a value as it is, percent-encoded, escaped as JSON, and in base64. It cannot know what
    a tool has made of it otherwise: reversed, hashed, split over two answers.

    Args:
        secrets: the secrets that the tool was given.
    """

    __slots__ = ("_texts",)

    def __init__(self, secrets: Iterable[Secret]) -> None:
        pairs = {form: f"[secret {secret.name}]" for secret in secrets for form in _forms(secret.reveal())}
        # Longest first, so that an encoded form is not broken by one that it contains.
        self._texts = sorted(pairs.items(), key=lambda pair: -len(pair[0]))

    def text(self, text: str) -> str:
        """Return `text` without the secrets."""
        for value, mask in self._texts:
            text = text.replace(value, mask)
        return text

    def holds(self, text: str) -> bool:
        """Tell whether `text` carries a secret."""
        return any(value in text for value, _ in self._texts)

    def clean(self, value: Any) -> Any:
        """Return `value` without the secrets.

        What holds a secret is built anew, and stays as it was where the tool keeps it; what cannot be
        built anew is replaced by its text.
        """
        try:
            return _Cleaning(self).clean(value, _MAX_DEPTH)
        except RecursionError:
            return _TOO_DEEP

    def each(self, items: Any) -> Iterator[Any]:
        """Return an iterator over `items` that gives each of them without the secrets."""
        return map(self.clean, items)

    def clean_error(self, error: BaseException) -> bool:
        """Take the secrets out of an exception, and of those that led to it; tell whether that worked."""
        try:
            return _Cleaning(self).clean_error(error)
        except RecursionError:
            return False


class _Cleaning:
    """One walk over what a tool gave out."""

    __slots__ = ("_errors", "_scrubber", "_seen")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._seen: dict[int, Any] = {}
        self._errors: set[int] = set()

    def clean(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._scrubber.text(str(value)) if self._scrubber.holds(value) else value
        if isinstance(value, _BYTES):
            return self._clean_bytes(value)
        if isinstance(value, _ATOMS):
            return value
        if id(value) in self._seen:
            return self._seen[id(value)]
        if depth <= 0:
            return _TOO_DEEP
        self._seen[id(value)] = value
        cleaned = self._clean_parts(value, depth - 1)
        self._seen[id(value)] = cleaned
        return cleaned

    def _clean_bytes(self, value: bytes | bytearray | memoryview) -> Any:
        data = bytes(value)
        text = data.decode("utf-8", "surrogateescape")
        if not self._scrubber.holds(text):
            return value
        cleaned = self._scrubber.text(text).encode("utf-8", "surrogateescape")
        return bytearray(cleaned) if isinstance(value, bytearray) else cleaned

    def _clean_parts(self, value: Any, depth: int) -> Any:
        kind = type(cast("object", value))
        if kind is list:
            return self._clean_list(value, depth)
        if kind is dict:
            return self._clean_dict(value, depth)
        if kind in _REBUILT or (issubclass(kind, tuple) and hasattr(value, "_fields")):
            return self._clean_items(value, depth)
        if isinstance(value, _ERRORS):
            return value if self.clean_error(value) else self._mask(value)
        if isinstance(value, _ITERATORS) and not hasattr(value, "read"):
            return self._scrubber.each(value)
        if isinstance(value, _BUFFERS):
            held = value.getvalue()
            cleaned = self.clean(held, depth)
            return value if cleaned is held else value.__class__(cleaned)
        return self._clean_twin(value, depth)

    def _clean_list(self, value: list[Any], depth: int) -> list[Any]:
        cleaned: list[Any] = []
        self._seen[id(value)] = cleaned  # before its items, one of which may be the list itself
        cleaned += [self.clean(item, depth) for item in value]
        return value if _same(cleaned, value) else cleaned

    def _clean_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        cleaned: dict[Any, Any] = {}
        self._seen[id(value)] = cleaned
        cleaned.update([(self.clean(name, depth), self.clean(item, depth)) for name, item in value.items()])
        unchanged = _same(cleaned, value) and _same(cleaned.values(), value.values())
        return value if unchanged else cleaned

    def _clean_items(self, value: Any, depth: int) -> Any:
        items = [self.clean(item, depth) for item in value]
        if _same(items, value):
            return value
        rebuild: Any = type(cast("object", value))
        return rebuild(*items) if hasattr(value, "_fields") else rebuild(items)

    def _clean_twin(self, value: Any, depth: int) -> Any:
        """Return a foreign object as it is, or a clean twin of it: its owner may need the secret again."""
        try:
            attributes = self._attributes(value, depth)
            items = self._items(value, depth)
            if not attributes and items is None and not self._shows(value):
                return value
            twin = copy(value)
            if twin is value:
                return self._mask(value)
            for name, cleaned in attributes.items():
                object.__setattr__(twin, name, cleaned)
            if items is not None:
                twin.clear()
                (twin.update if isinstance(twin, _DICTS) else twin.extend)(items)
        except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is copied or changed
            return self._mask(value)
        return self._mask(value) if self._shows(twin) else twin

    def _attributes(self, value: Any, depth: int) -> dict[str, Any]:
        """Return the attributes that hold a secret, cleaned."""
        held = {name: getattr(value, name, None) for name in _slots_of(value)} | _dict_of(value)
        cleaned = {name: self.clean(item, depth) for name, item in held.items()}
        return {name: item for name, item in cleaned.items() if item is not held[name]}

    def _items(self, value: Any, depth: int) -> Any:
        """Return the items of a collection of somebody's own, cleaned; None when they hold no secret."""
        if isinstance(value, _DICTS):
            members: dict[Any, Any] = dict(value)
            cleaned = self._clean_dict(members, depth)
            return None if cleaned is members else cleaned
        if isinstance(value, _SEQUENCES):
            items: list[Any] = list(value)
            cleaned_items = self._clean_list(items, depth)
            return None if cleaned_items is items else cleaned_items
        return None

    def clean_error(self, error: BaseException) -> bool:
        clean = True
        waiting: list[BaseException | None] = [error]
        while waiting:
            current = waiting.pop()
            if current is None or id(current) in self._errors:
                continue
            self._errors.add(id(current))
            for name, cleaned in self._attributes(current, _MAX_DEPTH).items():
                clean = _set(current, name, cleaned) and clean
            clean = clean and not self._shows(current)
            waiting += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]
        import traceback  # not needed until a tool fails

        return clean and not self._scrubber.holds("".join(traceback.format_exception(error)))

    def _shows(self, value: Any) -> bool:
        """Tell whether a secret is seen when `value` is printed, or gone through as a mapping is."""
        try:
            texts = [str(value), repr(value)]
            if isinstance(value, _MAPPINGS):
                texts.append(repr(dict(value)))
        except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is printed
            return True
        return any(map(self._scrubber.holds, texts))

    def _mask(self, value: object) -> str:
        try:
            return self._scrubber.text(str(value))
        except Exception:  # noqa: BLE001 - as above
            return f"[a {type(value).__name__} that could not be cleaned of secrets]"


def _set(value: object, name: str, attribute: object) -> bool:
    if name in _dict_of(value):
        _dict_of(value)[name] = attribute  # whatever the class thinks of being changed
        return True
    try:
        object.__setattr__(value, name, attribute)
    except (AttributeError, TypeError):
        return False
    return True


def _same(mine: Iterable[Any], theirs: Iterable[Any]) -> bool:
    return all(map(operator.is_, mine, theirs))


def _dict_of(value: object) -> dict[str, Any]:
    attributes = getattr(value, "__dict__", None)
    return cast("dict[str, Any]", attributes) if type(attributes) is dict else {}


def _slots_of(value: object) -> Iterator[str]:
    """Return the names of attributes that live in no `__dict__`; pydantic keeps extra fields in one."""
    kinds = _ERROR_SLOTS if isinstance(value, BaseException) else _SLOTS
    for kind in type(value).__mro__:
        for name, descriptor in vars(kind).items():
            if isinstance(descriptor, kinds) and (not name.startswith("__") or name in _PYDANTIC):
                yield name


def _forms(value: str) -> set[str]:
    """Return the spellings in which text may carry `value`."""
    import base64  # not needed until a tool gets a secret
    import html
    from urllib.parse import quote, quote_plus

    raw = value.encode("utf-8", "surrogatepass")
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    quoted |= {json.dumps(text)[1:-1] for text in quoted} | {repr(raw)[2:-1]}
    hexadecimal = {raw.hex(), raw.hex().upper()} if len(raw) >= _SURE_BYTES else set[str]()
    forms = {
        value,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        html.escape(value),
        *quoted,
        *hexadecimal,
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode().rstrip("="))
        if len(raw) >= _SURE_BYTES:  # inside other text, as in Basic authentication: at any alignment
            forms |= {_inner(encode(b"\0" * shift + raw).decode(), shift) for shift in (1, 2)}
            forms.add(_inner(encode(raw).decode(), 0))
    return forms


def _inner(encoded: str, shift: int) -> str:
    """Return the letters of base64 that depend on the value alone, not on what stands around it."""
    whole = encoded.rstrip("=")
    end = len(whole) if not encoded.endswith("=") else len(whole) - 1
    return whole[(4 if shift else 0) : end]

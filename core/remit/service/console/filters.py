"""What somebody looks for in the time line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from remit.errors import CODES
from remit.service.console import words
from remit.service.console.records import DEPTHS, Log, Moment, Place
from remit.service.errors import ServiceError

__all__ = ["PARAMETERS", "Filter"]

PARAMETERS: Final = (
    "agent", "capability", "verdict", "code", "text", "since", "until", "lines", "before"
)  # fmt: skip

_VERDICTS: Final = ("allowed", "denied", "failed")
_MAX_TEXT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for; None asks for nothing."""

    agent: str | None
    capability: str | None
    verdict: str | None
    code: str | None
    text: str | None
    since: float | None
    """Seconds since the epoch, as `until`, which does not count itself."""
    until: float | None
    lines: int
    before: Place | None
    """Where the page before ended."""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filter:
        """Return the filter that the parameters of a page describe; blank ones say nothing.

        Raises:
            ServiceError: 400, when one of them makes no sense. What was not understood would else look as
                if it had been heeded.
        """
        given = {name: value.strip() for name, value in query.items() if value.strip()}
        for name, value in given.items():
            if len(value) > _MAX_TEXT:
                raise _odd(name, f"at most {_MAX_TEXT} characters")
        lines, before = given.get("lines"), given.get("before")
        place = None if before is None else Place.parse(before)
        if lines is not None and lines not in map(str, DEPTHS):
            raise _odd("lines", f"one of {', '.join(map(str, DEPTHS))}")
        if before is not None and place is None:
            raise _odd("before", "the number of a record")
        return cls(
            agent=given.get("agent"),
            capability=given.get("capability"),
            verdict=_one_of("verdict", given.get("verdict"), _VERDICTS),
            code=_one_of("code", given.get("code"), sorted(CODES)),
            text=given.get("text"),
            since=_time("since", given.get("since")),
            until=_time("until", given.get("until")),
            lines=DEPTHS[0] if lines is None else int(lines),
            before=place,
        )

    @property
    def is_set(self) -> bool:
        """Whether anything is asked for, besides a page."""
        return any(getattr(self, name) is not None for name in PARAMETERS if name not in {"lines", "before"})

    def page(self, log: Log, size: int) -> tuple[list[Moment], Place | None]:
        """Return what is on this page, and where it ends when there is another one."""
        return log.moments[:size], log.moments[size - 1].place if len(log.moments) > size else None

    def read_log(self, path: Path | None, size: int) -> Log:
        """Return a log as far as a page of it is asked for, and one moment more if there is one."""
        return Log.read(path, self.lines, select=lambda moments: islice(self._matching(moments), size + 1))

    def _matching(self, moments: Iterable[Moment]) -> Iterator[Moment]:
        is_here = self.before is None
        for moment in moments:
            is_here = is_here or (self.before is not None and moment.place.is_after(self.before))
            if is_here and self.matches(moment):
                yield moment

    def matches(self, moment: Moment) -> bool:
        """Tell whether somebody looks for this. A damaged line is shown whatever they look for."""
        record = moment.main
        if record is None:
            return True
        refusal = moment.refusal
        return (
            (self.agent is None or self.agent in {record.agent, _agent_of(record.subject)})
            and (self.capability is None or self.capability == record.capability)
            and (self.code is None or (refusal is not None and self.code == refusal.code))
            and self._has_verdict(moment)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
            and (self.text is None or self.text.casefold() in _text(moment))
        )

    def _has_verdict(self, moment: Moment) -> bool:
        match self.verdict:
            case "denied":
                return moment.refusal is not None
            case "allowed":
                return moment.is_allowed
            case "failed":
                return moment.outcome is not None and not moment.outcome.allowed
            case _:
                return True


def _one_of(name: str, value: str | None, known: tuple[str, ...] | list[str]) -> str | None:
    if value is not None and value not in known:
        raise _odd(name, f"one of {', '.join(known)}")
    return value


def _time(name: str, value: str | None) -> float | None:
    """Return a time as a browser's field has it, which is taken for UTC, or as RFC 3339 has it."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _odd(name, "a time such as 2025-01-31T17:30") from None


def _odd(name: str, wanted: str) -> ServiceError:
    return ServiceError(400, "invalid_request", f"{name} must be {wanted}.")


def _agent_of(subject: str | None) -> str | None:
    return subject.removeprefix("agent:") if subject is not None and subject.startswith("agent:") else None


def _text(moment: Moment) -> str:
    """Return all the text that a moment shows, to be searched."""
    parts: list[object] = [moment.line.seq]
    for record in moment.records:
        parts += [record.agent, record.capability, record.code, record.reason, record.subject, record.event]
        parts += [record.issuer, record.call_id, record.token_id, *record.chain, words.when(record.at)]
        parts.append(getattr(record.arguments, "text", None))
    return "\n".join([str(part) for part in parts if part is not None]).casefold()

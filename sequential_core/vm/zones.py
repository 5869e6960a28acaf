"""Time zones: when a zone has which offset, from the tables of the package tzdata.

Always from that package and never from the system's own files: a task then sees one history of the world wherever it
goes on, and no name is ever a path. Python's zoneinfo tells the offset of a moment, but not how long it lasts, and
only in the years 1 to 9999; so the files are read here (RFC 9636).
"""

from __future__ import annotations

import bisect
import functools
import re
import struct
from dataclasses import dataclass
from importlib import resources

_DAY_SECONDS = 86400
_LONGEST_NAME = 64

# The instants of Temporal, and a day more on either side for its local times.
_MOST_SECONDS = 8_640_000_000_000 + 2 * _DAY_SECONDS

# RFC 9636, 3.3: a zone without summer time, or with one from one day of the year to another. Days are given as the
# nth weekday of a month: no zone needs the other forms, and the tests read them all.
_NAME = r"(?:<[^>]+>|[A-Za-z]+)"
_TIME = r"([+-]?\d+(?::\d+)*)"
_DAY = rf"M(\d+)\.(\d)\.(\d)(?:/{_TIME})?"
_FOOTER = re.compile(rf"{_NAME}{_TIME}(?:{_NAME}{_TIME}?,{_DAY},{_DAY})?")


@dataclass(frozen=True)
class Span:
    """A time in which a zone has one offset.

    Attributes:
        offset: seconds east of Greenwich.
        since: its first second, in seconds since 1970; None if it has no beginning.
        until: the first second after it; None if it has no end.
    """

    offset: int
    since: int | None
    until: int | None


@dataclass(frozen=True)
class _Change:
    """The second of a local clock at which summer time begins or ends, every year.

    Attributes:
        before: the offset of that clock.
        after: the offset from then on.
    """

    month: int
    week: int
    weekday: int
    seconds: int
    before: int
    after: int

    def moment(self, year: int) -> int:
        first = _days(year, self.month)
        day = first + (self.weekday - first - 4) % 7 + 7 * (self.week - 1)
        if self.week == 5 and day >= _days(year, self.month + 1):  # "the last one"
            day -= 7
        return day * _DAY_SECONDS + self.seconds - self.before


@dataclass(frozen=True)
class Zone:
    """A time zone.

    Attributes:
        first_offset: the offset before all changes.
        moments: of the changes that the file lists, ascending.
        offsets: from each of these moments on; no two neighbours are equal.
        last: where the list ends, which may be later than the last change of the offset in it.
        yearly: the changes of every year from there on.
    """

    first_offset: int
    moments: tuple[int, ...]
    offsets: tuple[int, ...]
    last: int
    yearly: tuple[_Change, ...]

    def span(self, seconds: int) -> Span:
        """The span of one offset around a moment."""
        changes = list(zip(self.moments, self.offsets, strict=True))
        if changes and seconds < changes[-1][0]:
            return _find(self.first_offset, changes, seconds)
        year = _year(max(seconds, self.last))
        following = [(change.moment(y), change.after) for y in range(year - 1, year + 2) for change in self.yearly]
        for moment, offset in sorted(following):
            if moment > self.last and offset != (changes[-1][1] if changes else self.first_offset):
                changes.append((moment, offset))
        return _find(self.first_offset, changes, seconds)


def _find(first_offset: int, changes: list[tuple[int, int]], seconds: int) -> Span:
    at = bisect.bisect_right(changes, seconds, key=lambda change: change[0])
    since, offset = changes[at - 1] if at else (None, first_offset)
    return Span(offset, since, changes[at][0] if at < len(changes) else None)


def primary(name: str) -> str:
    """The name that a zone and its other names share, in its right case; "" if there is no such zone.

    ECMA-402, 6.5.1: of a zone in a country's list (zone.tab) its own; else the one that it is a link to.
    """
    known = _names().get(name.lower()) if len(name) <= _LONGEST_NAME else None
    if known is None:
        return ""
    if known not in _listed() and (link := re.search(rf"^L (\S+) {re.escape(known)}$", _source(), re.MULTILINE)):
        known = link[1]
    return "UTC" if known in {"Etc/UTC", "Etc/GMT", "GMT"} else known


def span(name: str, seconds: int) -> Span:
    """The span of one offset around a moment in a zone.

    Raises:
        KeyError: there is no such zone.
    """
    return _zone(_names()[name.lower()]).span(max(-_MOST_SECONDS, min(seconds, _MOST_SECONDS)))


# --- The files ---


def _read(*path: str) -> bytes:
    return resources.files("tzdata").joinpath(*path).read_bytes()


@functools.cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in _read("zones").decode().split()}


@functools.cache
def _listed() -> frozenset[str]:
    lines = _read("zoneinfo", "zone.tab").decode().splitlines()
    return frozenset(line.split("\t")[2] for line in lines if not line.startswith("#"))


@functools.cache
def _source() -> str:
    return _read("zoneinfo", "tzdata.zi").decode()


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> Zone:
    return _parsed(_read("zoneinfo", *name.split("/")))


_HEADER = struct.Struct(">4sc15x6L")


def _parsed(data: bytes) -> Zone:
    """Reads a file of the second or a later version (RFC 9636, 3.1 and 3.2): what is for the first one comes first."""
    _, _, utc, standard, leaps, times, types, letters = _HEADER.unpack_from(data)
    start = _HEADER.size + times * 5 + types * 6 + letters + leaps * 8 + standard + utc
    magic, version, utc, standard, leaps, times, types, letters = _HEADER.unpack_from(data, start)
    if magic != b"TZif" or version < b"2" or leaps:
        raise ValueError("not a file of a time zone")
    at = start + _HEADER.size
    moments = struct.unpack_from(f">{times}q", data, at)
    kinds = data[at + 8 * times : at + 9 * times]
    known = [offset for offset, _, _ in struct.iter_unpack(">lBB", data[at + 9 * times : at + 9 * times + 6 * types])]
    footer = data[at + 9 * times + 6 * types + letters + standard + utc :].decode().strip()

    kept: list[tuple[int, int]] = []
    for moment, kind in zip(moments, kinds, strict=True):
        if known[kind] != (kept[-1][1] if kept else known[0]):
            kept.append((moment, known[kind]))
    changes, offsets = tuple(moment for moment, _ in kept), tuple(offset for _, offset in kept)
    return Zone(known[0], changes, offsets, max(moments, default=-_MOST_SECONDS), _yearly(footer))


def _yearly(footer: str) -> tuple[_Change, ...]:
    if not footer:
        return ()
    match = _FOOTER.fullmatch(footer)
    if match is None:
        raise ValueError("an unknown kind of rule")
    standard, summer, *days = match.groups()
    if days[0] is None:
        return ()
    offset = -_seconds(standard)
    summer_offset = offset + 3600 if summer is None else -_seconds(summer)
    return (_change(days[:4], offset, summer_offset), _change(days[4:], summer_offset, offset))


def _change(day: list[str], before: int, after: int) -> _Change:
    month, week, weekday, time = day
    return _Change(int(month), int(week), int(weekday), _seconds(time or "2"), before, after)


def _seconds(time: str) -> int:
    sign = -1 if time.startswith("-") else 1
    parts = [int(part) for part in time.lstrip("+-").split(":")]
    return sign * sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))


# --- The calendar, in all years: Python's ends at 9999 ---


def _days(year: int, month: int) -> int:
    """Days from 1970 to the first of a month; the thirteenth is the next January."""
    shifted, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + (153 * month + 2) // 5 - 719468


def _year(seconds: int) -> int:
    """The year of a moment, or one beside it."""
    return 1970 + seconds * 400 // (146097 * _DAY_SECONDS)

"""The time zones, against Python's own reader of the same files."""

from __future__ import annotations

import random
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest

from sequential_core.vm import host, zones

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = sorted(zones._names().values())
# Gaps, folds, half hours, rules that turn round the year, changes of the law, no rule at all.
TRICKY = [
    *("Africa/Casablanca", "America/New_York", "America/Nuuk", "Antarctica/Macquarie", "Antarctica/Troll"),
    *("Asia/Gaza", "Asia/Tehran", "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Europe/Tallinn"),
    *("Pacific/Apia", "Pacific/Kwajalein", "Pacific/Norfolk", "America/Sao_Paulo", "Asia/Kolkata", "Etc/GMT+5"),
]


def offset(zone: zoneinfo.ZoneInfo, seconds: int) -> int:
    found = (EPOCH + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
    assert found is not None
    return int(found.total_seconds())


@pytest.fixture
def tables():
    """Python's reader of the package's files, whatever the system has."""
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    yield zoneinfo.ZoneInfo
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def check(name: str, zone: zoneinfo.ZoneInfo, moments: list[int]) -> None:
    for moment in moments:
        span = zones.span(name, moment)
        assert span.offset == offset(zone, moment), (name, moment)
        if span.since is not None:
            assert span.since <= moment
            assert zones.span(name, span.since - 1).until == span.since
            assert zones.span(name, span.since - 1).offset != span.offset
        if span.until is not None:
            assert moment < span.until
            assert zones.span(name, span.until).since == span.until
            assert zones.span(name, span.until).offset != span.offset


@pytest.mark.parametrize("name", TRICKY)
def test_offsets_are_those_of_the_tables_in_all_years(name, tables):
    chance = random.Random(name)
    far = [chance.randint(-62_135_000_000, 253_402_000_000) for _ in range(100)]
    near = [chance.randint(-3_000_000_000, 5_000_000_000) for _ in range(300)]
    edges = [moment + step for moment in zones._zone(name).moments for step in (-1, 0)]
    check(name, tables(name), far + near + edges)


def test_every_zone_is_read(tables):
    chance = random.Random(1)
    for name in NAMES:
        check(name, tables(name), [chance.randint(-3_000_000_000, 5_000_000_000) for _ in range(4)])


def test_rules_hold_for_as_long_as_time_does():
    # The calendar repeats every 400 years.
    cycle = 146_097 * 86_400
    now = zones.span("Europe/Berlin", 1_720_000_000)
    later = zones.span("Europe/Berlin", 1_720_000_000 + 680 * cycle)
    assert (later.offset, later.since, later.until) == (7200, now.since + 680 * cycle, now.until + 680 * cycle)
    assert zones.span("Europe/Berlin", -8_640_000_000_000).offset == 3208
    assert zones.span("Europe/Berlin", 10**30).offset in {3600, 7200}


@pytest.mark.parametrize(
    ("name", "primary"),
    [
        ("europe/BERLIN", "Europe/Berlin"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("US/Pacific", "America/Los_Angeles"),
        # Of two countries, so not one zone, though the tables are the same.
        ("Europe/Oslo", "Europe/Oslo"),
        ("Etc/Zulu", "UTC"),
        ("GMT", "UTC"),
        ("", ""),
        ("Mars/Base", ""),
        ("../zones", ""),
        ("zone.tab", ""),
        ("__init__.py", ""),
        ("Europe", ""),
        ("Europe/Berlin\0", ""),
        ("x" * 1_000_000, ""),
        ("\ud800", ""),
    ],
)
def test_a_zone_is_found_by_its_names_and_by_nothing_else(name, primary):
    assert host.perform("zone.primary", [name]) == primary


def test_the_operation_gives_the_span_as_json():
    assert host.perform("zone.span", ["Europe/Berlin", "1720000000"]) == "[7200, 1711846800, 1729990800]"
    assert host.perform("zone.span", ["Etc/GMT+5", "0"]) == "[-18000, null, null]"

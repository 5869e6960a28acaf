"""Temporal, in the guest: known answers, and objects that live across a pause."""

from __future__ import annotations

import json
import random
import time
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest

from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs
from sequential_core.vm import zones
from tests.support import check_program, completed, failed, suspended

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAUSE = 'await fetch("http://a/");'


def shown(expressions: list[str]) -> list[str]:
    """What each expression gives, as a string; of one that throws, the name of its error."""
    tries = ",".join(f"() => String({expression})" for expression in expressions)
    return completed(f"[{tries}].map((give) => {{ try {{ return give(); }} catch (error) {{ return error.name; }} }})")


def check(table: dict[str, str]) -> None:
    assert dict(zip(table, shown(list(table)), strict=True)) == table


def test_plain_dates_and_times():
    check(
        {
            "Temporal.PlainDate.from('2024-01-31').add({ months: 1 })": "2024-02-29",
            "Temporal.PlainDate.from('2024-02-29').add({ years: 1 })": "2025-02-28",
            "Temporal.PlainDate.from('2024-02-29').subtract({ days: 60 })": "2023-12-31",
            "Temporal.PlainDate.from('2024-01-01').until('2024-12-25', { largestUnit: 'months' })": "P11M24D",
            "Temporal.PlainDate.from('2024-12-30').weekOfYear": "1",
            "Temporal.PlainDate.from('2024-12-30').dayOfWeek": "1",
            # Of what is no date, an object is constrained and a string is refused.
            "Temporal.PlainDate.from('2024-02-30')": "RangeError",
            "Temporal.PlainDate.from({ year: 2024, month: 2, day: 30 }, { overflow: 'reject' })": "RangeError",
            "Temporal.PlainDate.from({ year: 2024, month: 2, day: 30 })": "2024-02-29",
            "Temporal.PlainDate.compare('2024-01-01', '2023-12-31')": "1",
            "Temporal.PlainDate.from('+275760-09-13').add({ days: 1 })": "RangeError",
            "Temporal.PlainTime.from('23:30').add({ hours: 1 })": "00:30:00",
            "Temporal.PlainTime.from('12:34:56.987654321').round('millisecond')": "12:34:56.988",
            "Temporal.PlainDateTime.from('2024-02-28T23:59:59').add({ seconds: 1 })": "2024-02-29T00:00:00",
            "Temporal.PlainDateTime.from('2024-05-05T10:20').with({ day: 1 })": "2024-05-01T10:20:00",
            "Temporal.PlainYearMonth.from('2024-02').daysInMonth": "29",
            "Temporal.PlainYearMonth.from('2024-11').add({ months: 3 })": "2025-02",
            "Temporal.PlainMonthDay.from('02-29').toPlainDate({ year: 2023 })": "2023-02-28",
            "Temporal.PlainDate.from('2024-01-01') < 1": "TypeError",
        }
    )


def test_durations_and_instants():
    check(
        {
            "Temporal.Duration.from('PT36H').round({ largestUnit: 'days' })": "P1DT12H",
            "Temporal.Duration.from({ days: 31 }).round({ largestUnit: 'months', relativeTo: '2024-01-01' })": "P1M",
            "Temporal.Duration.from('P1M').total({ unit: 'days', relativeTo: '2024-02-01' })": "29",
            "Temporal.Duration.from('PT1M30S').negated()": "-PT1M30S",
            "Temporal.Duration.from({ hours: 1, minutes: -1 })": "RangeError",
            "Temporal.Instant.from('2024-01-01T00:00+01:00')": "2023-12-31T23:00:00Z",
            "Temporal.Instant.fromEpochMilliseconds(-1)": "1969-12-31T23:59:59.999Z",
            "Temporal.Instant.from('1969-12-31T23:59:59.999999999Z').epochNanoseconds": "-1",
            "new Date(1234).toTemporalInstant()": "1970-01-01T00:00:01.234Z",
            "new Date(NaN).toTemporalInstant()": "RangeError",
        }
    )


def test_gaps_folds_and_transitions():
    zoned = "Temporal.ZonedDateTime.from"
    check(
        {
            f"{zoned}('2024-03-31T02:30[Europe/Berlin]')": "2024-03-31T03:30:00+02:00[Europe/Berlin]",
            f"{zoned}('2024-03-31T02:30[Europe/Berlin]', {{ disambiguation: 'earlier' }})": (
                "2024-03-31T01:30:00+01:00[Europe/Berlin]"
            ),
            f"{zoned}('2024-03-31T02:30[Europe/Berlin]', {{ disambiguation: 'reject' }})": "RangeError",
            f"{zoned}('2024-10-27T02:30[Europe/Berlin]')": "2024-10-27T02:30:00+02:00[Europe/Berlin]",
            f"{zoned}('2024-10-27T02:30[Europe/Berlin]', {{ disambiguation: 'later' }})": (
                "2024-10-27T02:30:00+01:00[Europe/Berlin]"
            ),
            f"{zoned}('2024-10-27T02:30+01:00[Europe/Berlin]')": "2024-10-27T02:30:00+01:00[Europe/Berlin]",
            f"{zoned}('2024-10-27T02:30+05:00[Europe/Berlin]')": "RangeError",
            f"{zoned}('2024-10-27T00:00[Europe/Berlin]').hoursInDay": "25",
            f"{zoned}('2024-03-10T02:30[America/New_York]')": "2024-03-10T03:30:00-04:00[America/New_York]",
            f"{zoned}('2024-11-03T01:30[America/New_York]').add({{ hours: 1 }})": (
                "2024-11-03T01:30:00-05:00[America/New_York]"
            ),
            f"{zoned}('2024-03-09T02:30[America/New_York]').add({{ days: 1 }})": (
                "2024-03-10T03:30:00-04:00[America/New_York]"
            ),
            # Half an hour of summer time.
            f"{zoned}('2024-10-06T02:15[Australia/Lord_Howe]')": "2024-10-06T02:45:00+11:00[Australia/Lord_Howe]",
            f"{zoned}('2024-04-07T01:45[Australia/Lord_Howe]').add({{ minutes: 30 }})": (
                "2024-04-07T01:45:00+10:30[Australia/Lord_Howe]"
            ),
            # A day that there was not, and a midnight.
            f"{zoned}('2011-12-30T12:00[Pacific/Apia]')": "2011-12-31T12:00:00+14:00[Pacific/Apia]",
            f"{zoned}('2018-11-04T12:00[America/Sao_Paulo]').startOfDay()": (
                "2018-11-04T01:00:00-02:00[America/Sao_Paulo]"
            ),
            # Before there were zones.
            f"{zoned}('1850-01-01T00:00[Europe/Berlin]').offset": "+00:53:28",
            f"{zoned}('1945-06-01T00:00[Europe/Berlin]').offset": "+03:00",
            f"{zoned}('1850-01-01T00:00[Europe/Berlin]').getTimeZoneTransition('previous')": "null",
            f"{zoned}('1850-01-01T00:00[Europe/Berlin]').getTimeZoneTransition('next')": (
                "1893-04-01T00:06:32+01:00[Europe/Berlin]"
            ),
            f"{zoned}('2024-10-27T02:00+01:00[Europe/Berlin]').getTimeZoneTransition('next')": (
                "2025-03-30T03:00:00+02:00[Europe/Berlin]"
            ),
            f"{zoned}('2024-10-27T02:00+01:00[Europe/Berlin]').getTimeZoneTransition('previous')": (
                "2024-03-31T03:00:00+02:00[Europe/Berlin]"
            ),
            f"{zoned}('2024-01-01T00:00[Asia/Kolkata]').getTimeZoneTransition('next')": "null",
            f"{zoned}('9999-07-01T00:00[Europe/Berlin]').offset": "+02:00",
            f"{zoned}('+275760-09-13T00:00Z[Asia/Tokyo]')": "+275760-09-13T09:00:00+09:00[Asia/Tokyo]",
            f"{zoned}('-271821-04-20T00:00Z[America/New_York]').offset": "-04:56:02",
        }
    )


def test_zones_by_all_their_names_and_no_other():
    zoned = "Temporal.Instant.from('2024-01-01T00:00Z').toZonedDateTimeISO"
    check(
        {
            f"{zoned}('UTC')": "2024-01-01T00:00:00+00:00[UTC]",
            f"{zoned}('+05:30')": "2024-01-01T05:30:00+05:30[+05:30]",
            f"{zoned}('europe/berlin').timeZoneId": "Europe/Berlin",
            f"{zoned}('Asia/Calcutta').equals({zoned}('Asia/Kolkata'))": "true",
            f"{zoned}('Europe/Oslo').equals({zoned}('Europe/Berlin'))": "false",
            f"{zoned}('Mars/Base')": "RangeError",
            f"{zoned}('../zones')": "RangeError",
            f"{zoned}('/etc/localtime')": "RangeError",
            f"{zoned}('x'.repeat(1e6))": "RangeError",
            f"{zoned}('')": "RangeError",
            f"{zoned}('Europe/Berlin\\0')": "RangeError",
            f"{zoned}('\\ud800')": "RangeError",
            f"{zoned}(null)": "TypeError",
        }
    )
    names = sorted(zones._names().values())
    code = f"{json.dumps(names)}.filter((name) => {zoned}(name.toLowerCase()).timeZoneId !== name)"
    assert completed(code) == []


def test_an_unknown_zone_tells_nothing_of_the_host():
    error = failed("Temporal.Now.zonedDateTimeISO('Mars/Base')").error
    assert (error.name, error.message) == ("RangeError", "Invalid time zone: MARS/BASE")
    assert ".py" not in error.stack
    assert "/" not in error.stack.replace("task.js", "")


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_local_times_are_those_of_zoneinfo(name):
    chance = random.Random(name)
    moments = [chance.randint(-3_000_000_000, 5_000_000_000) for _ in range(100)]
    code = (
        f"{json.dumps(moments)}.map((seconds) => Temporal.Instant.fromEpochMilliseconds(seconds * 1000)"
        f".toZonedDateTimeISO('{name}').toPlainDateTime().toString())"
    )
    zone = zoneinfo.ZoneInfo(name)
    local = [(EPOCH + timedelta(seconds=moment)).astimezone(zone).replace(tzinfo=None) for moment in moments]
    assert completed(code) == [time.isoformat() for time in local]


def test_a_string_of_each_class_reads_back():
    code = """
        const zoned = Temporal.ZonedDateTime.from('2024-10-27T02:30:00.123456789+01:00[Europe/Berlin]');
        const values = [zoned, zoned.toInstant(), zoned.toPlainDate(), zoned.toPlainTime(), zoned.toPlainDateTime(),
            zoned.toPlainDate().toPlainYearMonth(), zoned.toPlainDate().toPlainMonthDay(),
            Temporal.Duration.from('P1Y2M3DT4H5.6S')];
        values.filter((value) => String(value.constructor.from(String(value))) !== JSON.parse(JSON.stringify(value)))
    """
    assert completed(code) == []


def test_now_is_the_clock_of_the_guest_in_utc():
    before = time.time()
    zone, instant, zoned = completed(
        "const { Now } = Temporal;"
        "[Now.timeZoneId(), Now.instant().epochMilliseconds, Now.zonedDateTimeISO().timeZoneId]"
    )
    assert (zone, zoned) == ("UTC", "UTC")
    assert before - 1 < instant / 1000 < time.time() + 1


def test_calendars_are_iso8601_and_gregory():
    check(
        {
            "Temporal.PlainDate.from('2024-01-01').calendarId": "iso8601",
            "Temporal.PlainDate.from('2024-01-01[u-ca=gregory]').era": "ce",
            "Temporal.PlainDate.from('2024-01-01[u-ca=hebrew]')": "RangeError",
        }
    )


def test_there_is_no_intl():
    check(
        {
            "typeof Intl": "undefined",
            "new Intl.NumberFormat('en-US')": "ReferenceError",
            "(1234.5).toLocaleString('en-US')": "1234.5",
            "Temporal.PlainDate.from('2024-01-01').toLocaleString('en-US')": "2024-01-01",
            "Temporal.Duration.from('PT1H').toLocaleString('en-US')": "PT1H",
            "Temporal.PlainDate.prototype.toLocaleString.call({})": "TypeError",
        }
    )


def test_the_console_shows_values():
    outcome = programs.start("console.log(Temporal.PlainDate.from('2024-01-01'), [Temporal.Duration.from('PT1H')])")
    assert outcome.logs[0].message == "Temporal.PlainDate 2024-01-01 [Temporal.Duration PT1H]"


def test_globals_do_not_show_in_a_loop_and_can_be_replaced():
    assert completed(
        "const { enumerable, writable } = Object.getOwnPropertyDescriptor(globalThis, 'Temporal');"
        "[enumerable, writable, Date.prototype.propertyIsEnumerable('toTemporalInstant')]"
    ) == [False, True, False]


def test_objects_live_across_a_pause():
    check_program(
        f"""
        const berlin = Temporal.ZonedDateTime.from('2024-10-27T02:30[Europe/Berlin]');
        const date = Temporal.PlainDate.from('2024-01-31'), wait = Temporal.Duration.from('PT1H');
        const month = Temporal.PlainYearMonth.from('2024-02'), day = Temporal.PlainMonthDay.from('02-29');
        const instant = berlin.toInstant(), clock = Temporal.PlainTime.from('23:30');
        {PAUSE}
        const later = berlin.add(wait);
        {PAUSE}
        [later, date.add({{ months: 1 }}), month.daysInMonth, day.toPlainDate({{ year: 2023 }}), clock.add(wait),
            instant.toZonedDateTimeISO('America/New_York'), later.getTimeZoneTransition('next'),
            berlin.until(later)].map(String)
        """,
        [
            "2024-10-27T02:30:00+01:00[Europe/Berlin]",
            "2024-02-29",
            "29",
            "2023-02-28",
            "00:30:00",
            "2024-10-26T20:30:00-04:00[America/New_York]",
            "2025-03-30T03:00:00+02:00[Europe/Berlin]",
            "PT1H",
        ],
    )


def test_a_loop_through_many_years_leaves_no_samples_in_the_state():
    begin = f"let at = Temporal.ZonedDateTime.from('1900-01-01T00:00[Europe/Berlin]'); {PAUSE}"
    loop = f"{begin} for (let i = 0; i < 150; i++) at = at.getTimeZoneTransition('next'); {PAUSE} String(at)"
    first = suspended(loop)
    second = programs.resume(first.state, {first.requests[0].id: ValueAnswer(1)})
    assert isinstance(second, programs.Suspended)
    assert len(second.state) < len(first.state) + 1500


def test_an_intl_and_a_json_of_the_codes_own_change_nothing():
    check_program(
        f"globalThis.Intl = {{ DateTimeFormat: 1 }}; JSON.parse = null; {PAUSE}"
        "String(Temporal.ZonedDateTime.from('2024-07-01T00:00[Asia/Tokyo]').offset)",
        "+09:00",
    )

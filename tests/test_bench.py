"""The benchmark: what it does with numbers, and that our side of it still runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import ours, report, run, sides
from bench.measure import Measured, Summary, in_turn, repeated
from bench.sides import MONTY, OURS
from bench.workloads import BY_KEY

ROOT = Path(__file__).parents[1]


def test_summary_of_a_hundred_times_is_their_median_and_95th_percentile():
    summary = Summary.of([float(number) for number in range(101)])
    assert (summary.median, summary.p95, summary.count) == (50, 95, 101)


def test_summary_of_few_times_lies_within_them():
    assert Summary.of([3.0]) == Summary(3.0, 3.0, 1)
    assert 2.0 <= Summary.of([1.0, 2.0, 3.0]).p95 <= 3.0


def test_every_side_has_its_turn_in_each_round_and_another_one_begins():
    assert "".join(in_turn("abc", 4)) == "abcbcacababc"
    assert list(in_turn("", 3)) == []


def test_what_takes_too_long_is_measured_once():
    assert len(repeated(lambda: None, 5, seconds=60)) == 5
    assert len(repeated(lambda: None, 5, seconds=0)) == 1


def test_rounds_of_a_workload_come_together():
    measured = Measured()
    measured.add({"times": {"hop": [1.0]}, "sizes": {"state": 10}})
    measured.add({"times": {"hop": [2.0, 3.0]}, "sizes": {"state": 12}})
    assert measured == Measured(times={"hop": [1.0, 2.0, 3.0]}, sizes={"state": 12})


ROWS = (
    report.Row("hop", report.TIME, "W1", "hop", "0.5"),
    report.Row("state", report.SIZE, "W1", "state"),
    report.Row("item", report.SIZE, "W1", "item", otherwise="Only ours is one."),
    report.Row("not measured", report.TIME, "D", "hop"),
)


def test_table_has_what_was_measured_and_says_why_something_is_missing():
    results = {
        (OURS, "W1"): Measured(times={"hop": [0.5, 0.5]}, sizes={"state": 1690, "item": 2650}),
        (MONTY, "W1"): Measured(sizes={"state": 1241}, why_not="failed: out of luck"),
    }
    notes = report.Notes()
    assert report.table(ROWS, report.PAUSING_SIDES, results, notes).splitlines() == [
        "|  | goal | Sequential | Monty |",
        "|---|---|---|---|",
        "| hop | 0.5 | 0.50 (0.50) | \N{EN DASH}<sup>1</sup> |",
        "| state |  | 1,690 | 1,241<sup>1</sup> |",
        "| item |  | 2,650 | \N{EN DASH}<sup>1</sup> |",
    ]
    assert notes.lines() == ["<sup>1</sup> Monty failed: out of luck.<br>"]


def test_a_row_may_say_why_only_ours_has_it():
    notes = report.Notes()
    assert report.cell(ROWS[2], MONTY, {(MONTY, "W1"): Measured()}, notes) == "\N{EN DASH}<sup>1</sup>"
    assert notes.lines() == ["<sup>1</sup> Only ours is one.<br>"]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.512, "0.51"), (12.34, "12.3"), (123.4, "123"), (2017.0, "2,017"), (99.99, "100.0")]
)
def test_numbers_have_about_three_digits(value, shown):
    assert report.number(value) == shown


def test_points_of_the_plots_are_the_hops_of_the_loop_that_were_measured():
    results = {(OURS, "W2-10"): Measured(times={"hop": [2.0, 4.0]}, sizes={"state": 1700})}
    assert report.points(results, report.TIME) == {OURS: [(10, 3.0)]}
    assert report.points(results, report.SIZE) == {OURS: [(10, 1700)]}


def test_page_has_a_place_for_the_tables():
    text = "| what a run would print |"
    page = report.placed(report.PAGE.read_text(), text)
    assert page.count(text) == page.count(report.BEGIN) == page.count(report.END) == 1
    assert report.placed(page, text) == page


@pytest.fixture(scope="module")
def worker():
    return ours.Ours()


# All of ours but the 10,000 hops, and what has processes of its own.
@pytest.mark.parametrize("workload", [*(key for key in BY_KEY if key not in ("W2-1000", "W2-10000")), "W1-stored"])
def test_our_side_runs(worker, workload):
    worker.prepare(workload)
    answer = worker.measure(workload, 1, 0)
    assert all(len(times) >= 1 for times in answer["times"].values())
    for part in run.PARTS:
        if workload in part.workloads:
            for row in (*report.PAUSES, *report.COMPUTING, *report.MORE):
                if row.workload == workload:
                    assert row.what in answer["times"] | answer.get("sizes", {}), row


def test_side_that_crashes_loses_its_numbers_and_no_others(tmp_path):
    says = 'print(\'{"versions": {}}\', flush=True); input(); print(\'{"times": {"hop": [1.0]}}\', flush=True); input()'
    results = {}
    part = run.Part("W1", ("W1",), (OURS, MONTY), rounds=2, times=1)
    with sides.Running(sides.Side(OURS, (sys.executable, "-c", says)), str(tmp_path)) as crashing:
        run.measure(part, {OURS: crashing}, results)
    assert results.keys() == {(OURS, "W1")}
    assert results[OURS, "W1"].why_not == "failed: its process has ended"


def test_side_that_does_not_exist_is_an_error_of_its_own(tmp_path):
    side = sides.Side(MONTY, (str(tmp_path / "nothing"),), (str(tmp_path / "nothing"),))
    with pytest.raises(sides.SideError), sides.Running(side, str(tmp_path)) as running:
        running.start()
    with pytest.raises(sides.SideError):
        sides.to_first_pause(side, 1)


def test_command_runs_a_part():
    command = [sys.executable, "-m", "bench.run", "R"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "| R its state, bytes |" in done.stdout

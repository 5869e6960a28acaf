"""Options that several commands have, and the kinds of values that they take."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import Any

import click

from sequential_core.driver.event_urls import PUBLIC_URL_VARIABLE
from sequential_core.model import Language

_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[Any]):
    """A number of seconds, or one with a unit: 90s, 15m, 2h, 30d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 2h or 30d", param, ctx)
        try:
            return timedelta(seconds=float(found[1]) * _UNIT_SECONDS[found[2]])
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class Json(click.ParamType[Any]):
    """JSON text, or - for JSON from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return Given(json.loads(sys.stdin.read() if value == "-" else value))
        except (ValueError, RecursionError) as error:
            self.fail(f"it is not JSON: {error}", param, ctx)


class Given:
    """A value that was given on the command line; it may be null."""

    def __init__(self, value: Any) -> None:
        self.value = value


storage = click.option(
    "--storage",
    metavar="URL",
    help="Where tasks wait, such as sqlite:///tasks.db. Default: SEQUENTIAL_STORAGE, or a SQLite file of the user's.",
)
vm_state = click.option("--vm-state", is_flag=True, help="Print the state of the program too, in base64.")
public_url = click.option(
    "--public-url",
    metavar="URL",
    envvar=PUBLIC_URL_VARIABLE,
    help=f"By which the HTTP API is reached, for URLs of events. Default: {PUBLIC_URL_VARIABLE}.",
)


def code(command: Any) -> Any:
    """What there is to run, and how it is kept."""
    for option in (
        click.argument("file", required=False, type=click.File("rb"), metavar="[FILE]"),
        click.option("-e", "--eval", "code", metavar="CODE", help="Run this code instead of a file."),
        click.option(
            "--language",
            type=click.Choice([language.value for language in Language]),
            help="What the code is written in. Default: typescript if FILE ends in .ts or .mts, else javascript.",
        ),
        click.option("--id", "task_id", metavar="ID", help="The task's id; made if not given."),
        click.option("--name", metavar="NAME", help="A label."),
        click.option("--ttl", type=Duration(), help="How long each pause is kept. Default: 2h, or 30d if driven."),
        click.option(
            "--retain", type=Duration(), help="How long the outcome is kept. Default: not at all, or 1d with --drive."
        ),
        storage,
    ):
        command = option(command)
    return command


def policy(command: Any) -> Any:
    """How requests are performed."""
    for option in (
        click.option(
            "--answers",
            type=click.Choice(["value", "response"]),
            help="What fetch() gives: the body's JSON or text (the default), or a Response.",
        ),
        click.option("--attempts", type=click.IntRange(1, 20), help="Of a request. Default: 5."),
        click.option("--timeout", type=Duration(), help="For each attempt. Default: 30s."),
        click.option(
            "--max-response-bytes",
            "response_bytes",
            type=click.IntRange(1, 5 * 1024 * 1024),
            help="A longer response rejects the fetch. Default: 5 MiB.",
        ),
    ):
        command = option(command)
    return command


def rules(command: Any) -> Any:
    """Who may be called."""
    for option in (
        click.option(
            "--allow-loopback", is_flag=True, help="Let this machine be called. Default: public addresses only."
        ),
        click.option(
            "--allow",
            multiple=True,
            metavar="PATTERN",
            help="Let only such hosts be called: api.example.com, *.example.com, 10.0.0.0/8, any with a :port.",
        ),
        click.option("--deny", multiple=True, metavar="PATTERN", help="Let no such host be called."),
    ):
        command = option(command)
    return command


def read_code(file: Any, code: str | None) -> str:
    """The code that was given, as a file or itself."""
    if (file is None) == (code is None):
        raise click.UsageError("give either a FILE or -e CODE")
    if code is not None:
        return code
    try:
        text: str = file.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("the file is not text in UTF-8") from None
    return text


def language_of(file: Any) -> Language | None:
    """What the name of a file says; None: nothing."""
    return Language.TYPESCRIPT if file is not None and file.name.endswith((".ts", ".mts")) else None

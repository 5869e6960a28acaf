"""`sequential serve`, and the key that it signs with."""

from __future__ import annotations

import click

from sequential_core.cli import options


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0: any that is free.")
@click.option(
    "--allow-remote", is_flag=True, help="Listen where other machines can reach it. Nobody is asked who it is."
)
@click.option("--no-drive", is_flag=True, help="Leave driven tasks to others.")
@options.rules
@options.public_url
@options.storage
def serve(
    *,
    host: str,
    port: int,
    allow_remote: bool,
    no_drive: bool,
    allow_loopback: bool,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    public_url: str | None,
    storage: str | None,
) -> None:
    """Serves the HTTP API and drives tasks, until ctrl-C. The URL is told on standard error.

    Tasks that were being driven when a server ended are gone on with. A storage of DynamoDB is asked once a minute for
    those of other processes.
    """
    try:
        from sequential_core.http.serve import serve as serve_http  # an extra, and 200 ms
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sequential_core"):
            raise
        raise click.ClickException(
            f"{error.name.partition('.')[0]} is missing: pip install 'sequential-core[http]'"
        ) from None
    from sequential_core.driver import Rules

    def announce(url: str) -> None:
        click.echo(f"serving {url}  (ctrl-C ends it)", err=True)

    serve_http(
        storage,
        host,
        port,
        announce=announce,
        allow_remote=allow_remote,
        rules=Rules(allow, deny, loopback=allow_loopback),
        drive=not no_drive,
        public_url=public_url,
    )


@click.command("callback-key")
def callback_key() -> None:
    """Prints the key that callbacks are signed with, for those who receive them.

    It comes of SEQUENTIAL_SIGNING_KEY, or else of a file in the user's data directory, which is made if need be.
    The form is that of Standard Webhooks: whsec_ and base64.
    """
    from sequential_core.driver.keys import signing_key, write_key
    from sequential_core.driver.signing import callback_key

    click.echo(write_key(callback_key(signing_key())))

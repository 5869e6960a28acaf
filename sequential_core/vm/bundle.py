"""Bundling: the modules of `prelude/` and the npm packages that they import become one script.

esbuild does it, and needs no Node. What it writes is the same on every machine.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PRELUDE = Path(__file__).parent / "prelude"

_SECONDS = 60

# The bundle is a function of the host's one function, and gives the exports of index.js.
_HEAD, _FOOT = "(__host) => {", "return prelude; }"

_OPTIONS = (
    "--bundle",
    "--format=iife",
    "--global-name=prelude",
    "--platform=neutral",
    "--main-fields=module,main",
    "--target=es2023",
    "--legal-comments=none",
    # Not the identifiers: classes and functions keep their names.
    "--minify-whitespace",
    "--minify-syntax",
    "--log-level=error",
    f"--banner:js={_HEAD}",
    f"--footer:js={_FOOT}",
    # What fetch-blob asks Node for, where there is no ReadableStream.
    "--external:node:*",
    "--external:buffer",
    # And its own streams, 120 KB.
    "--external:web-streams-polyfill/dist/ponyfill.es2018.js",
    # The tables of Unicode are the host's.
    "--alias:tr46=./prelude/idna.js",
    # The engine has no Intl: packages that name it get this one.
    "--inject:./prelude/intl.js",
)


class BundleError(Exception):
    """esbuild is missing, or does not take the prelude."""


def bundle(folder: Path, *options: str) -> bytes:
    """The script that is evaluated while the guest is baked.

    Args:
        folder: where npm made `node_modules`. The prelude is copied there: esbuild writes paths into the script, and
            they must be the same on every machine.
        options: further ones of esbuild.

    Raises:
        BundleError: esbuild is not there for this machine, or failed.
    """
    binaries = folder / "node_modules" / "@esbuild"
    found = [*binaries.glob("*/bin/esbuild"), *binaries.glob("*/esbuild.exe")]
    if len(found) != 1:
        raise BundleError("esbuild is not there for this kind of machine")
    shutil.copytree(PRELUDE, folder / "prelude")
    done = subprocess.run(  # noqa: S603  # esbuild of the lock file
        [str(found[0].resolve()), "prelude/index.js", *_OPTIONS, *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(f"the prelude cannot be bundled:\n{done.stderr.decode(errors='replace').strip()}")
    return done.stdout

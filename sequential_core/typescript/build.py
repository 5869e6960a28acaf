"""Takes swc's stripper of types out of its npm package, and checks it against the pinned SHA-256.

`vm.build` fetches the packages and calls `take`. `python -m sequential_core.typescript.build --compile TARGET FOLDER`
compiles the stripper for a kind of machine, for packages that are made for one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from sequential_core.typescript.host import MODULE, PINNED

PACKAGE = "@swc/wasm-typescript"

#: The licence of swc, which goes wherever the module goes.
LICENCE = MODULE.with_suffix(".LICENSE")

# The package is one file of JavaScript, with the module in base64.
_SOURCE = "wasm.js"
_ENCODED = re.compile(rb"Buffer\.from\('([A-Za-z0-9+/=]+)', ?'base64'\)")


class ExtractionError(Exception):
    """The package is not as it was."""


def is_built() -> bool:
    """Whether the pinned stripper is there, whole."""
    return LICENCE.is_file() and MODULE.is_file() and _sha256(MODULE.read_bytes()) == PINNED.read_text().strip()


def take(modules: Path, *, pin: bool = False) -> None:
    """Puts the stripper where it belongs.

    Args:
        modules: the folder of npm's packages, which npm has verified.
        pin: take it as the new one instead of checking it.

    Raises:
        ExtractionError: it is not in the package, or not the pinned one.
    """
    found = _ENCODED.findall((modules / PACKAGE / _SOURCE).read_bytes())
    if len(found) != 1:
        raise ExtractionError(f"{PACKAGE} has {len(found)} modules in its {_SOURCE}, not one")
    module = base64.b64decode(found[0])
    if pin:
        PINNED.write_text(f"{_sha256(module)}\n")
    elif _sha256(module) != PINNED.read_text().strip():
        raise ExtractionError(f"{PACKAGE} has the module {_sha256(module)}, not the pinned one")
    temporary = MODULE.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(module)
    temporary.replace(MODULE)
    shutil.copyfile(modules / PACKAGE / "LICENSE", LICENCE)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """Runs the command line."""
    from sequential_core.vm.build import BuildError, precompile  # which imports this module

    parser = argparse.ArgumentParser(
        prog="python -m sequential_core.typescript.build", description="Compiles the stripper of TypeScript's types."
    )
    parser.add_argument("--compile", nargs=2, metavar=("TARGET", "FOLDER"), required=True)
    target, folder = parser.parse_args().compile
    try:
        paths = precompile(target, Path(folder), {PINNED.read_text().strip(): MODULE.read_bytes()})
    except BuildError as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(path.name)  # noqa: T201  # a command's result


if __name__ == "__main__":
    main()

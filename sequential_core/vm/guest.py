"""Guests: the baked modules of this installation, and how they are loaded.

A guest is one file, `guests/<SHA-256>.wasm`: the engine with its initialised heap as its data
section, a manifest of the addresses that the host needs, and the dictionary that small states are
compressed with. A state fits only the guest that
made it, so a release may carry several; `current.sha256` names the one that new tasks get.
Beside it a package for one kind of machine, such as that of the Lambda functions, carries the guest's compiled form.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import wasmtime

from sequential_core.errors import GuestMismatchError, GuestNotFoundError
from sequential_core.vm import cache, runtime, wasm

DIRECTORY = Path(__file__).parent / "guests"
CURRENT = Path(__file__).parent / "current.sha256"

# What takes snapshots, see `snapshot`, in parts that are put together.
_SNAPSHOT_PROGRAM = ("snapshot.wat", "heap.wat")

SECTION = "sequential"
DICTIONARY_SECTION = "sequential.dictionary"

if TYPE_CHECKING:
    from sequential_core.dictionary import Dictionary

# What filters large bodies, see `deltas`.
DELTAS_PROGRAM = Path(__file__).parent / "deltas.wat"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where things are in a guest's memory. All numbers are addresses.

    Attributes:
        stack_end: the C stack is below; it is dead whenever no call is under way.
        heap_start: the first chunk of the heap, see `heap`.
        arena_lists: the heads of the lists of arenas, see `heap`.
        random_state: the eight bytes behind `Math.random`.
        scratch: sixteen bytes for arguments, zero between calls; behind them is `Machine.age`.
        context: the engine's JSContext.
        undefined: a handle of the value `undefined`.
        functions: handles of the prelude's functions.
        packages: the npm packages that went into the guest, and their versions.
    """

    stack_end: int
    heap_start: int
    arena_lists: int
    random_state: int
    scratch: int
    context: int
    undefined: int
    functions: dict[str, int]
    packages: dict[str, str]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        return cls(**json.loads(text))


class Guest:
    """A guest, compiled and ready to be instantiated.

    Attributes:
        sha256: its name, in hexadecimal.
        manifest: where things are in its memory.
        dictionary: what its small states are compressed with; None: it was baked before there were any.
        template: gives fresh instances.
        clocked_template: gives instances that ask their machine what time it is.
        survey: what `snapshot` has found out about its image; None before the first.
    """

    def __init__(self, module: bytes | Path, compiled: wasmtime.Module | None = None) -> None:
        """Loads a guest.

        Args:
            module: the module, or its file, whose name is its hash. All of it is read, and the hash compared, only when
                it has to be compiled: to read 3 MB takes longer than to load what was compiled.
            compiled: its compiled form; None: from the cache, or made now and cached.

        Raises:
            GuestNotFoundError: it is no guest, or not the one whose name it has.
        """
        content = wasm.custom_section(module, SECTION)
        if content is None:
            raise GuestNotFoundError
        self.manifest = Manifest.from_json(content)
        self.dictionary = _dictionary_of(module)
        if isinstance(module, Path):
            self.sha256 = module.stem
            self._compiled = compiled or cache.compiled(functools.partial(_read, module), self.sha256, DIRECTORY)
        else:
            self.sha256 = hashlib.sha256(module).hexdigest()
            self._compiled = compiled or cache.compiled(module, self.sha256, DIRECTORY)
        self.survey: bytes | None = None
        self.template = runtime.linker().instantiate_pre(self._compiled)

    @functools.cached_property
    def clocked_template(self) -> wasmtime.InstancePre:
        return runtime.clocked_linker().instantiate_pre(self._compiled)

    @functools.cached_property
    def base(self) -> bytes:
        """The image behind the C stack: what states are differences to. Copied; quick ways do without."""
        store = wasmtime.Store(runtime.engine())
        store.set_wasi(wasmtime.WasiConfig())
        memory = self.template.instantiate(store).exports(store)["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return bytes(memory.read(store, self.manifest.stack_end))


def snapshot_program() -> bytes:
    """What takes snapshots, in the text format of WebAssembly: compiled, shipped and cached as guests are."""
    parts = [(Path(__file__).parent / name).read_bytes() for name in _SNAPSHOT_PROGRAM]
    return b"(module\n%b)\n" % b"".join(parts)


def _dictionary_of(module: bytes | Path) -> Dictionary | None:
    # Not at the top: guests are compiled for packages where no more than wasmtime is installed.
    from sequential_core.dictionary import Dictionary

    words = wasm.custom_section(module, DICTIONARY_SECTION)
    return None if words is None else Dictionary(words)


def _read(file: Path) -> bytes:
    module = file.read_bytes()
    if hashlib.sha256(module).hexdigest() != file.stem:
        raise GuestNotFoundError
    return module


def installed() -> tuple[str, ...]:
    """The SHA-256 of every guest of this installation."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.wasm")))


@runtime.once
def current() -> Guest:
    """The guest for new tasks.

    Raises:
        GuestNotFoundError: the installation has none.
    """
    try:
        return load(CURRENT.read_text().strip())
    except (FileNotFoundError, GuestMismatchError) as error:
        raise GuestNotFoundError from error


@functools.lru_cache(maxsize=16)
def load(name: str) -> Guest:
    """The guest of that name: its SHA-256, or the beginning of it that a state has.

    Raises:
        GuestMismatchError: it is not installed.
    """
    for sha256 in installed():
        if sha256 == name:
            return Guest(DIRECTORY / f"{sha256}.wasm")
        if sha256.startswith(name):
            return load(sha256)
    raise GuestMismatchError(name, installed())


def dictionary(name: str) -> Dictionary | None:
    """The dictionary of the guest of that name.

    Raises:
        GuestMismatchError: it is not installed.
    """
    return load(name).dictionary

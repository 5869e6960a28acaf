"""The engine: the only part that knows wasmtime."""

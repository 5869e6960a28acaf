"""The engine. Only it knows wasmtime, and `typescript`, which stands on it."""

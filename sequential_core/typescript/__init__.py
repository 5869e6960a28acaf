"""TypeScript: posted code without its types, as JavaScript whose lines and columns are those of the posted code.

The flow calls `strip` and runs what it gives; nothing else knows of TypeScript. The work is done by swc, in the
WebAssembly build by which Node.js strips types; `host` is to it what JavaScript would be, `build` fetches it. This
package stands on `vm`: it shares the engine of wasmtime, the clock of CPU time and the cache of compiled modules.
Only these two know wasmtime.
"""

from sequential_core.typescript.stripping import named, strip

__all__ = ["named", "strip"]

"""Writes docs/web-platform.md: what the running guest has of ECMA-429, and which package gives it.

The words are those of scripts/web-platform.md; what stands there in double braces is filled in. The sizes of the
packages are in scripts/web-platform.json: measuring them takes npm, so that is done only with --measure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sequential_core.testing import run_program
from sequential_core.vm import build, bundle
from sequential_core.vm import guest as guests

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "web-platform.md"
TEMPLATE = Path(__file__).with_name("web-platform.md")
SIZES = Path(__file__).with_name("web-platform.json")

_BODY = "body bodyUsed arrayBuffer blob bytes formData json text"
_READABLE_WRITABLE = "readable writable"

# ECMA-429 (December 2025), section "Common API Index", and the members that the standards named there give to each
# interface. Those behind the bar are static.
INTERFACES = {
    "AbortController": "signal abort",
    "AbortSignal": "aborted reason onabort throwIfAborted | abort any timeout",
    "Blob": "size type slice text arrayBuffer bytes stream",
    "ByteLengthQueuingStrategy": "highWaterMark size",
    "CompressionStream": _READABLE_WRITABLE,
    "CountQueuingStrategy": "highWaterMark size",
    "Crypto": "subtle getRandomValues randomUUID",
    "CryptoKey": "type extractable algorithm usages",
    "CustomEvent": "detail initCustomEvent",
    "DecompressionStream": _READABLE_WRITABLE,
    "DOMException": "name message code",
    "ErrorEvent": "message filename lineno colno error",
    "Event": "type target srcElement currentTarget composedPath eventPhase stopPropagation cancelBubble "
    "stopImmediatePropagation bubbles cancelable returnValue preventDefault defaultPrevented composed isTrusted "
    "timeStamp initEvent",
    "EventTarget": "addEventListener removeEventListener dispatchEvent",
    "File": "name lastModified",
    "FormData": "append delete get getAll has set entries keys values forEach",
    "Headers": "append delete get getSetCookie has set entries keys values forEach",
    "MessageChannel": "port1 port2",
    "MessageEvent": "data origin lastEventId source ports initMessageEvent",
    "MessagePort": "postMessage start close onmessage onmessageerror onclose",
    "Performance": "now timeOrigin toJSON",
    "PromiseRejectionEvent": "promise reason",
    "ReadableByteStreamController": "byobRequest desiredSize close enqueue error",
    "ReadableStream": "locked cancel getReader pipeThrough pipeTo tee values | from",
    "ReadableStreamBYOBReader": "closed cancel read releaseLock",
    "ReadableStreamBYOBRequest": "view respond respondWithNewView",
    "ReadableStreamDefaultController": "desiredSize close enqueue error",
    "ReadableStreamDefaultReader": "closed cancel read releaseLock",
    "Request": "method url headers destination referrer referrerPolicy mode credentials cache redirect integrity "
    f"keepalive isReloadNavigation isHistoryNavigation signal duplex clone {_BODY}",
    "Response": f"type url redirected status ok statusText headers clone {_BODY} | error redirect json",
    "SubtleCrypto": "encrypt decrypt sign verify digest generateKey deriveKey deriveBits importKey exportKey wrapKey "
    "unwrapKey",
    "TextDecoder": "encoding fatal ignoreBOM decode",
    "TextDecoderStream": f"encoding fatal ignoreBOM {_READABLE_WRITABLE}",
    "TextEncoder": "encoding encode encodeInto",
    "TextEncoderStream": f"encoding {_READABLE_WRITABLE}",
    "TransformStream": _READABLE_WRITABLE,
    "TransformStreamDefaultController": "desiredSize enqueue error terminate",
    "URL": "href origin protocol username password host hostname port pathname search searchParams hash toJSON "
    "toString | parse canParse createObjectURL revokeObjectURL",
    "URLPattern": "protocol username password hostname port pathname search hash hasRegExpGroups test exec",
    "URLSearchParams": "size append delete get getAll has set sort entries keys values forEach toString",
    "WritableStream": "locked abort close getWriter",
    "WritableStreamDefaultController": "signal error",
    "WritableStreamDefaultWriter": "closed desiredSize ready abort close releaseLock write",
}
WEBASSEMBLY = (
    "Global Instance Memory Module Table Tag Exception CompileError LinkError RuntimeError "
    "compile compileStreaming instantiate instantiateStreaming JSTag validate"
)
GLOBALS = {
    "globalThis": "",
    "atob": "",
    "btoa": "",
    "clearTimeout": "",
    "clearInterval": "",
    "console": "assert clear debug error info log table trace warn dir dirxml count countReset group groupCollapsed "
    "groupEnd time timeLog timeEnd",
    "crypto": "",
    "fetch": "",
    "navigator": "userAgent",
    "onerror": "",
    "onunhandledrejection": "",
    "onrejectionhandled": "",
    "performance": "now timeOrigin",
    "queueMicrotask": "",
    "reportError": "",
    "self": "",
    "setTimeout": "",
    "setInterval": "",
    "structuredClone": "",
}
# Beyond the standard.
EXTRAS = {
    "addEventListener": "the global scope as an event target",
    "removeEventListener": "the same",
    "dispatchEvent": "the same",
    "sleep": "ours: a promise for later",
    "callTool": "ours: a promise of what a tool of the host gives",
    "waitForEvent": "ours: a promise of an event",
    "Navigator": "the class of `navigator`",
    "Temporal": "[docs/temporal-and-intl.md](temporal-and-intl.md)",
    "Intl": "[docs/temporal-and-intl.md](temporal-and-intl.md) has the reasons",
}

# What each package serves; a package that is missing here is one that another one imports.
SERVES = {
    "@exodus/bytes": "TextEncoder, TextDecoder, their streams",
    "@remix-run/multipart-parser": "forms that are read from bodies",
    "core-js": "structuredClone",
    "data-urls": "`data:` URLs in fetch",
    "event-target-shim": "Event, EventTarget",
    "fetch-blob": "Blob, File",
    "formdata-polyfill": "FormData, forms as bodies",
    "pako": "CompressionStream, DecompressionStream",
    "temporal-polyfill": "Temporal",
    "urlpattern-polyfill": "URLPattern",
    "web-streams-polyfill": "the streams",
    "whatwg-mimetype": "content types",
    "whatwg-url": "URL, URLSearchParams",
}
ENGINE = "quickjs-wasi"

_PRESENT, _ABSENT = "yes", "**no**"

# Attributes may be the objects' own.
_PROBE = """
const samples = {
  Event: () => new Event('x'), TextEncoder: () => new TextEncoder(), TextDecoder: () => new TextDecoder(),
  TextEncoderStream: () => new TextEncoderStream(), TextDecoderStream: () => new TextDecoderStream(),
};
const has = (object, name) => Object(object) === object && name in object;
const missing = {};
for (const [name, members] of Object.entries(INTERFACES)) {
  const Class = globalThis[name];
  if (typeof Class !== 'function') { missing[name] = null; continue; }
  const [own, fixed = []] = members.split('|').map((part) => part.split(' ').filter(Boolean));
  const sample = samples[name]?.();
  missing[name] = [
    ...own.filter((member) => !has(Class.prototype, member) && !has(sample, member)),
    ...fixed.filter((member) => !has(Class, member)),
  ];
}
const globals = {};
for (const [name, members] of Object.entries(GLOBALS)) {
  const there = name in globalThis;
  globals[name] = there ? members.split(' ').filter((member) => member !== '' && !has(globalThis[name], member)) : null;
}
({ missing, globals })
"""


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Writes docs/web-platform.md.")
    parser.add_argument("--measure", action="store_true", help="measure the npm packages again")
    if parser.parse_args().measure:
        SIZES.write_text(json.dumps(measured(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


def page() -> str:
    """The page, from the guest of this installation."""
    found = _probe()
    filled = {
        "summary": _summary(found),
        "interfaces": _interfaces(found["missing"]),
        "globals": _globals(found["globals"]),
        "extras": _extras(),
        "packages": _packages(),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in filled.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _probe() -> dict[str, dict[str, list[str] | None]]:
    everything = {**GLOBALS, **dict.fromkeys(EXTRAS, ""), "WebAssembly": ""}
    code = f"const INTERFACES = {json.dumps(INTERFACES)}, GLOBALS = {json.dumps(everything)};{_PROBE}"
    found: dict[str, dict[str, list[str] | None]] = run_program(code, {}).result
    return found


def _names(members: str) -> list[str]:
    return members.replace("|", " ").split()


def _summary(found: dict[str, dict[str, list[str] | None]]) -> str:
    missing = found["missing"]
    there = sum(each is not None for each in missing.values())
    members = sum(len(_names(names)) for names in INTERFACES.values())
    members_there = members - sum(
        len(_names(INTERFACES[name])) if absent is None else len(absent) for name, absent in missing.items()
    )
    names = sum(found["globals"][name] == [] for name in GLOBALS)
    return (
        f"{there} of the {len(INTERFACES)} interfaces, {members_there} of their {members} members,\n"
        f"and {names} of the {len(GLOBALS)} global names"
    )


def _interfaces(missing: dict[str, list[str] | None]) -> str:
    rows = ["| interface | present | members | missing |", "|---|---|---|---|"]
    for name, members in INTERFACES.items():
        absent, count = missing[name], len(_names(members))
        if absent is None:
            rows.append(f"| {name} | {_ABSENT} | 0 of {count} | all |")
        else:
            rows.append(f"| {name} | {_PRESENT} | {count - len(absent)} of {count} | {', '.join(absent)} |")
    rows += [f"| WebAssembly.{name} | {_ABSENT} | | |" for name in WEBASSEMBLY.split()]
    return "\n".join(rows)


def _globals(found: dict[str, list[str] | None]) -> str:
    rows = ["| name | present | missing |", "|---|---|---|"]
    for name in GLOBALS:
        absent = found[name]
        rows.append(f"| {name} | {_ABSENT if absent is None else _PRESENT} | {', '.join(absent or ())} |")
    return "\n".join(rows)


def _extras() -> str:
    found = _probe()["globals"]
    rows = ["| name | present | |", "|---|---|---|"]
    rows += [f"| {name} | {'no' if found[name] is None else _PRESENT} | {what} |" for name, what in EXTRAS.items()]
    return "\n".join(rows)


def _packages() -> str:
    sizes = json.loads(SIZES.read_text(encoding="utf-8"))
    rows = ["| package | version | licence | bundled bytes | serves |", "|---|---|---|---|---|"]
    for name, each in sorted(sizes["packages"].items()):
        what = SERVES.get(name, "what others of these import")
        rows.append(f"| {name} | {each['version']} | {each['licence']} | {each['bytes']:,} | {what} |")
    rows.append(
        f"| our own modules, `vm/prelude/` | | MIT | {sizes['prelude']:,} | the rest, and what joins the packages |"
    )
    return "\n".join(rows)


def measured() -> dict[str, object]:
    """What esbuild says that each package takes in the bundle, with versions and licences."""
    command = build.npm_command()
    if command is None:
        sys.exit("error: npm is needed to measure the packages")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / file, folder)
        arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        subprocess.run([*command, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        bundle.bundle(folder, "--metafile=meta.json", "--outfile=out.js")
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        packages: dict[str, dict[str, object]] = {}
        prelude = 0
        for path, each in meta["outputs"]["out.js"]["inputs"].items():
            if not path.startswith("node_modules/"):
                prelude += each["bytesInOutput"]
                continue
            parts = path.removeprefix("node_modules/").split("/")
            package = "/".join(parts[: 2 if parts[0].startswith("@") else 1])
            if package not in packages:
                facts = json.loads((folder / "node_modules" / package / "package.json").read_text(encoding="utf-8"))
                packages[package] = {"version": facts["version"], "licence": facts["license"], "bytes": 0}
            packages[package]["bytes"] = int(str(packages[package]["bytes"])) + each["bytesInOutput"]
        return {"prelude": prelude, "packages": {name: each for name, each in packages.items() if each["bytes"]}}


def outdated() -> list[str]:
    """The packages whose measured version is not the one in the guest."""
    sizes = json.loads(SIZES.read_text(encoding="utf-8"))["packages"]
    versions = guests.current().manifest.packages
    return [
        name for name, version in versions.items() if name != ENGINE and sizes.get(name, {}).get("version") != version
    ]


if __name__ == "__main__":
    main()

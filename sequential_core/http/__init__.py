"""The HTTP API of Sequential: an ASGI application, for uvicorn (`sequential serve`), Mangum or any other server.

    from sequential_core import create_flow
    from sequential_core.http import create_app

    app = create_app(create_flow("sqlite:///tasks.db"))

It needs the extra `http`: `pip install 'sequential-core[http]'`. The table of problems does not, and is used without
HTTP too; so the application is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sequential_core.http.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sequential_core.http.app import create_app

    return create_app

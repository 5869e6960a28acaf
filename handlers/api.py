"""The HTTP API behind API Gateway (HTTP APIs and REST APIs) or a function URL."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mangum import Mangum
from starlette.types import Receive, Scope, Send

from handlers.environment import flow, settings, telemetry
from sequential_core.http import create_app, problems

_TEXT = ["application/json", problems.MEDIA_TYPE]

# Mangum takes the event loop of the thread, which Python 3.14 makes for nobody.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

_app = create_app(flow, signing_key=settings.signing_key, public_url=settings.public_url)


async def _app_behind_its_prefix(scope: Scope, receive: Receive, send: Send) -> None:
    """The app, told what its callers have in front of its paths: the stage of a REST API."""
    await _app({**scope, "root_path": _prefix(scope["aws.event"])}, receive, send)


def _prefix(event: Any) -> str:
    context = event["requestContext"]
    stage = f"/{context.get('stage')}"
    return stage if str(context.get("path")).startswith(f"{stage}/") else ""


_adapter = Mangum(_app_behind_its_prefix, lifespan="off", text_mime_types=_TEXT)


@telemetry.observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = _adapter(event, context)
    except Exception as error:  # noqa: BLE001  # the app raises nothing: it is Mangum that cannot read the event
        telemetry.logger.warning("not an event of a gateway", extra={"error": type(error).__name__})
        return _refused(problems.MalformedBodyError("this is no whole event of an API Gateway or a function URL"))
    return answer


def _refused(error: Exception) -> dict[str, Any]:
    document = problems.report(error, __name__)
    return {
        "statusCode": document["status"],
        "headers": {"content-type": problems.MEDIA_TYPE},
        "body": json.dumps(document),
        "isBase64Encoded": False,
    }

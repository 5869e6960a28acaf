"""The HTTP API behind API Gateway (HTTP APIs and REST APIs) or a function URL."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mangum import Mangum

from handlers.environment import flow, telemetry
from sequential_core.http import create_app, problems

_TEXT = ["application/json", problems.MEDIA_TYPE]

# Mangum takes the event loop of the thread, which Python 3.14 makes for nobody.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

_adapter = Mangum(create_app(flow), lifespan="off", text_mime_types=_TEXT)


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

"""The HTTP API behind API Gateway (HTTP APIs and REST APIs) or a function URL."""

from __future__ import annotations

import json
from typing import Any

from mangum import Mangum

from handlers.environment import flow, telemetry
from sequential_core.http import create_app, problems

_TEXT = ["application/json", problems.MEDIA_TYPE]

_adapter = Mangum(create_app(flow), lifespan="off", text_mime_types=_TEXT)


@telemetry.observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    if not isinstance(event, dict) or "requestContext" not in event:
        return _refused(problems.MalformedBodyError("the event is none of an API Gateway or a function URL"))
    try:
        answer: dict[str, Any] = _adapter(event, context)
    except Exception as error:  # noqa: BLE001  # the event may lack anything
        return _refused(error)
    return answer


def _refused(error: Exception) -> dict[str, Any]:
    document = problems.report(error, __name__)
    return {
        "statusCode": document["status"],
        "headers": {"content-type": problems.MEDIA_TYPE},
        "body": json.dumps(document),
        "isBase64Encoded": False,
    }

"""The OpenAPI document without any server: the page's types are generated from it."""

import json

from hub.app import create_app, openapi_document
from hub.cli.parts import offline_context


def openapi_json() -> str:
    """The document, keys sorted, so that it changes only when the API does."""
    document = openapi_document(create_app(offline_context()))
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"

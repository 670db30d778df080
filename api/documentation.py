"""The commands' documentation for people, in development: Swagger UI, with scripts that are here and not on the web."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PATH: Final = "/docs"
SCRIPTS: Final = "/docs/scripts"


def install(app: FastAPI) -> None:
    """Serve it beside the application's OpenAPI document."""

    def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url=f"{SCRIPTS}/swagger-ui-bundle.js",
            swagger_css_url=f"{SCRIPTS}/swagger-ui.css",
            swagger_favicon_url=f"{SCRIPTS}/favicon.png",
        )

    app.add_api_route(PATH, page, include_in_schema=False)
    app.mount(SCRIPTS, StaticFiles(packages=[("fastapi_offline", "static")]))

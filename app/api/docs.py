"""The pages /docs (Swagger UI) and /redoc, with every byte from this machine; / leads to the first.

Rules of this file: scripts and styles are files of an installed package; a page may load nothing from
elsewhere, and its content security policy says so to the browser as well.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse, Response

ASSETS = Path(fastapi_offline.__file__).parent / "static"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png"}
_REMOTE_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
"""The only address that the assets would fetch of themselves."""
_NO_LOGO = b"data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE_HEADERS = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer"}


def add_docs(app: FastAPI) -> None:
    """Add /, /docs, /redoc and their assets."""
    assets = {path.name: path.read_bytes() for path in ASSETS.iterdir() if path.suffix in _TYPES}
    favicon = "/docs-assets/favicon.png"
    assets["redoc.standalone.js"] = assets["redoc.standalone.js"].replace(_REMOTE_LOGO, _NO_LOGO)
    swagger = get_swagger_ui_html(
        openapi_url="/openapi.json", title=f"{app.title} API", swagger_js_url="/docs-assets/swagger-ui-bundle.js",
        swagger_css_url="/docs-assets/swagger-ui.css", swagger_favicon_url=favicon,
        swagger_ui_parameters={"displayRequestDuration": True, "tryItOutEnabled": False, "validatorUrl": None},
    )  # fmt: skip
    redoc = get_redoc_html(
        openapi_url="/openapi.json", title=f"{app.title} API", redoc_js_url="/docs-assets/redoc.standalone.js",
        redoc_favicon_url=favicon, with_google_fonts=False,
    )  # fmt: skip

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(swagger.body, headers=_PAGE_HEADERS)

    @app.get("/redoc", include_in_schema=False)
    async def reference() -> Response:
        return HTMLResponse(redoc.body, headers=_PAGE_HEADERS)

    @app.get("/docs-assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        content = assets.get(name)
        if content is None:
            return Response(status_code=404)
        kind = _TYPES[Path(name).suffix]
        return Response(content, media_type=kind, headers={"cache-control": "public, max-age=86400"})

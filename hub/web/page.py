"""Serves the built page: files of `hub/web/static`, and `index.html` for the page's own routes."""

from pathlib import Path

from fastapi import APIRouter, Depends
from starlette.responses import FileResponse, HTMLResponse, Response

from hub.errors import NotFound
from hub.identity.guard import open_to
from hub.identity.model import Permission

STATIC = Path(__file__).with_name("static")

_NOT_BUILT = """<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>平安黔哨 Hub</title>
<body><h1>平安黔哨 Hub</h1>
<p>页面尚未构建。请在仓库根目录运行 <code>make setup</code>。</p>
<p>The page has not been built yet. Run <code>make setup</code> in the repository root.
The API answers at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p></body></html>
"""


def page_router(static: Path = STATIC) -> APIRouter:
    """The catch-all route; mount it last."""
    root = static.resolve()
    router = APIRouter(dependencies=[Depends(open_to(Permission.PUBLIC))], include_in_schema=False)

    @router.api_route("/{path:path}", methods=["GET", "HEAD"], name="page")
    def page(path: str) -> Response:  # plain: looking at files blocks, so it runs in a thread
        if path == "api" or path.startswith("api/"):
            raise NotFound("request.not_found")
        return _file(root, path)

    return router


def _file(static: Path, path: str) -> Response:
    wanted = _inside(static, path)
    if wanted is not None:
        # Vite names assets by their content, so these may be kept for ever; all else is asked for again.
        kept = path.startswith("assets/")
        return FileResponse(
            wanted, headers={"Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache"}
        )
    if path.startswith("assets/"):
        raise NotFound("request.not_found")
    index = static / "index.html"
    if index.is_file():
        return FileResponse(index, headers={"Cache-Control": "no-cache"})
    return HTMLResponse(_NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})


def _inside(static: Path, path: str) -> Path | None:
    """The file `path` names if it lies in `static` (links and `..` resolved), else None."""
    if not path or "\x00" in path:
        return None
    wanted = (static / path).resolve()
    return wanted if wanted.is_relative_to(static) and wanted.is_file() else None

"""The style sheet, the script and the icon: files beside this one, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from remit.service.console.headers import COMMON

__all__ = ["Assets"]

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NOWHERE: Final = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK: Final = "no-cache"


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    kind: str
    version: str


class Assets:
    """What is in the folder, read once. A file's address has its version, so that it may be kept for ever."""

    def __init__(self) -> None:
        self._assets = {
            path.name: _Asset(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:16])
            for path in sorted(_FOLDER.iterdir())
            if path.suffix in _TYPES
            for content in [path.read_bytes()]
        }

    def address(self, name: str) -> str:
        """Return where a file is found, in the version that there is."""
        return f"/console/static/{name}?v={self._assets[name].version}"

    def serve(self, request: Request) -> Response:
        """Answer with the file that is asked for."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response(status_code=404, headers={**COMMON, **_NOWHERE, "Cache-Control": "no-store"})
        is_this = request.query_params.get("v") == asset.version
        tag = f'"{asset.version}"'
        headers = {**COMMON, **_NOWHERE, "ETag": tag, "Cache-Control": _FOR_EVER if is_this else _ASK}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.kind, headers=headers)

"""What every response of the console tells the browser."""

from __future__ import annotations

from typing import Final

__all__ = ["COMMON", "PAGE"]

COMMON: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: with it, a browser says `Origin: null` of the console's own forms.
    "Referrer-Policy": "same-origin",
}
"""For pages and files."""

PAGE: Final = {
    **COMMON,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""For pages: nothing inline, nothing from elsewhere, in no frame, and kept nowhere."""

"""Who may ask the viewer for what: token, host, origin, size of a request, and what the page may load."""

import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4 << 20
"""Bytes of a request."""

TOKEN_PARAMETER = "token"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-security policy: nothing from elsewhere, no inline scripts or styles, no `eval`."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
)


class Guard:
    """Lets a request through if it comes from the page that was opened with the token.

    Args:
        app: The server behind it.
        token: The secret that is part of the address that is printed.
        hosts: The host names, with port, that this server answers to.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies are shared by all ports of a host."""
        ports = sorted({host.rpartition(":")[2] for host in self._hosts})
        return f"histoscout-{ports[0]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN_PARAMETER, [""])[0]
        fault = self._fault(scope["method"], headers, given)
        fresh = fault is None and bool(given)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = dict(HEADERS)
                if fresh:
                    added["set-cookie"] = f"{self.cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.encode(), value.encode()) for name, value in added.items()),
                ]
            await send(message)

        if fault is not None:
            await PlainTextResponse(fault[1], fault[0])(scope, receive, answer)
            return
        await self._app(scope, _Limited(receive), answer)

    def _fault(self, method: str, headers: Mapping[str, str], given: str) -> tuple[int, str] | None:
        """Status and reason of a refusal; None if the request is let through."""
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "This server does not answer to that name."
        if method not in ("GET", "HEAD", "POST"):
            return 405, "This method is not used here."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self._hosts:
            return 403, "Requests from other pages are refused."
        if method == "POST":
            if origin is None or headers.get("content-type", "").split(";")[0] != "application/json":
                return 403, "Changes come as JSON from the viewer's own page."
            if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > MAX_BODY:
                return 413, "The request is too large."
        secret = given or _cookie(headers.get("cookie", ""), self.cookie)
        if not hmac.compare_digest(secret.encode(), self._token.encode()):
            return 401, "Open the address that histoscout view printed: it holds the key to this page."
        return None


class _Limited:
    """Ends a request that sends more than it said."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self._size > MAX_BODY else message


def _cookie(header: str, name: str) -> str:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""

"""A small client of the hub's public API, as any program outside would write it."""

from typing import Any, Self

import httpx

from deploy.demo.processes import DemoError


class HubClient:
    """One signed-in session."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=30.0, trust_env=False)
        self._csrf = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def sign_in(self, username: str, password: str) -> "HubClient":
        """Opens the session."""
        session = self.ask("POST", "/session", {"username": username, "password": password})
        self._csrf = session["csrf_token"]
        return self

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One request; the JSON answer, None for 204.

        Raises:
            DemoError: the hub refused; the problem's code and detail.
        """
        answer = self._http.request(method, path, json=body, params=query or None, headers={"X-CSRF-Token": self._csrf})
        if answer.is_error:
            raise DemoError(f"{method} {path}: {answer.status_code} {answer.text[:600]}")
        return answer.json() if answer.content else None

    def purpose(self, note: str) -> None:
        """Says why this session looks."""
        self.ask("PUT", "/session/purpose", {"kind": "test", "note": note})

    def raw(self, path: str, **headers: str) -> httpx.Response:
        """A GET whose answer is no JSON (media); `path` from the server's root."""
        return self._http.get(str(self._http.base_url.copy_with(path="/")).rstrip("/") + path, headers=headers)

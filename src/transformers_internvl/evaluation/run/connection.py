# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Requests to an OpenAI-compatible server, which are tried again where that may help."""

import random
import threading
from typing import Any

from .answers import without_lone_surrogates

_ATTEMPTS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_TRY_AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504))


class Connection:
    """A server.

    Args:
        url: of the API, such as `http://127.0.0.1:8000/v1`.
        key: the server's key.
        requests: maximum number of requests at the same time.
        timeout: seconds to wait for one answer.
        client: an `httpx.Client`, such as one of a server in this process; None makes one.

    Attributes:
        stop: set it to end the pauses between attempts.
    """

    def __init__(self, url: str, *, key: str = "none", requests: int = 8, timeout: float = 3600.0, client: Any = None):
        from huggingface_hub.utils import httpx  # the client that transformers uses as well

        self.url, self.stop = url.rstrip("/"), threading.Event()
        limits = httpx.Limits(max_connections=requests)
        self._httpx = httpx
        self._client = client or httpx.Client(timeout=httpx.Timeout(timeout, connect=30.0), limits=limits)
        self._headers = {"Authorization": f"Bearer {key}"}

    def models(self) -> dict[str, str]:
        """Name -> owner of the models that the server has."""
        answer = self.send("GET", "/models", None, "the models")
        return {row["id"]: row.get("owned_by", "") for row in answer.get("data", ())}

    def chat(self, body: dict[str, Any], what: str) -> dict[str, Any]:
        """The answer to a request for a chat: `choices[0]` has a `message`.

        Args:
            body: of the request.
            what: is asked, for messages.

        Raises:
            ValueError: the server refused it.
            OSError: it gave no answer in all attempts.
        """
        return self.send("POST", "/chat/completions", body, what, _is_chat)

    def send(
        self, method: str, path: str, body: dict[str, Any] | None, what: str, accepts: Any = lambda answer: True
    ) -> dict[str, Any]:
        """What the server answers. Tries again, later and later, where that may help; see `chat`.

        Args:
            accepts: whether an answer is one. Others count as failed attempts.
        """
        last = "no answer"
        for attempt in range(_ATTEMPTS):
            pause: float | None = None
            try:
                response = self._client.request(method, f"{self.url}{path}", json=body, headers=self._headers)
                last = f"status {response.status_code}: {response.text[:500]}"
                if response.status_code < 300:
                    answer = _object(response)
                    if answer is not None and accepts(answer):
                        return answer
                elif response.status_code not in _TRY_AGAIN:
                    raise ValueError(f"The server at {self.url} refused {what} ({last}).")
                pause = _seconds(response.headers.get("Retry-After"))
            except self._httpx.TransportError as error:
                last = f"{type(error).__name__}: {error}"
            wanted = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)
            if attempt + 1 == _ATTEMPTS or self.stop.wait(wanted if pause is None else pause):
                break
        raise OSError(f"The server at {self.url} gave no answer to {what} in {attempt + 1} attempts: {last}")


def _object(response: Any) -> dict[str, Any] | None:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return without_lone_surrogates(answer) if isinstance(answer, dict) else None


def _is_chat(answer: dict[str, Any]) -> bool:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and isinstance(first.get("message"), dict)


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else min(_LONGEST_PAUSE, max(0.0, float(header)))
    except ValueError:
        return None


__all__ = ["Connection"]

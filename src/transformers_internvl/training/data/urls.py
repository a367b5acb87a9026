# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""URLs in training data. Data are untrusted: what they name is fetched only where the user allows it.

Then the rules are those of `internvl serve`: public addresses, and hosts that the user names; so many bytes a sample,
within so many seconds.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ...processing.addresses import NotPublic
from ...processing.fetching import Fetching, is_url
from ...processing.media import SOURCES
from ...processing.text.messages import normalized
from .rows import MessagesRow, Row

AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True)
class UrlRules:
    """What the URLs of a sample may cost, and where they may lead.

    Attributes:
        bytes: maximum number of bytes of its images and videos together.
        seconds: longest time to fetch them all, redirections included.
        hosts: that are fetched from at any address, such as `localhost` or a store in your own network.
    """

    bytes: int = 256 << 20
    seconds: float = 60.0
    hosts: Collection[str] = ()


def url_rules(allow_urls: bool | UrlRules) -> UrlRules | None:
    """The rules that a data set was given; None where URLs are not fetched."""
    return allow_urls if isinstance(allow_urls, UrlRules) else UrlRules() if allow_urls else None


class Fetched:
    """Puts bytes in the place of the URLs of one sample.

    Args:
        rules: of the data set; None: a URL is an error.
    """

    def __init__(self, rules: UrlRules | None):
        self.rules = rules
        self._fetching: Fetching | None = None
        self._left = 0 if rules is None else rules.bytes

    def row(self, row: AnyRow) -> AnyRow:
        """A row without URLs.

        Raises:
            ValueError: it has some, and they are not allowed, too large, too slow or not public; or its messages are
                none.
        """
        found: dict[str, Any] = {name: tuple(map(self.medium, getattr(row, name))) for name in ("images", "videos")}
        if isinstance(row, MessagesRow):
            (chat,), _ = normalized(row.messages)
            found["messages"] = [{**message, **self._content(message)} for message in chat]
        return replace(row, **found)

    def _content(self, message: dict[str, Any]) -> dict[str, Any]:
        content = message.get("content")
        if not isinstance(content, (list, tuple)):
            return {}
        return {"content": [self._item(item) if isinstance(item, dict) else item for item in content]}

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        kind = item.get("type")
        keys = SOURCES.get(kind, ()) if isinstance(kind, str) else ()
        return {key: self.medium(value) if key in keys else value for key, value in item.items()}

    def medium(self, item: Any) -> Any:
        """An image or video, a list of frames, or the cell of a table, without URLs. Errors as for [`Fetched.row`]."""
        if isinstance(item, (list, tuple)):
            return [self.medium(each) for each in item]
        if isinstance(item, dict):
            return {key: self.medium(each) for key, each in item.items()}
        if isinstance(item, (str, os.PathLike)) and is_url(str(os.fspath(item))):
            return self._fetch(str(os.fspath(item)))
        return item

    def _fetch(self, url: str) -> bytes:
        if self.rules is None:
            raise ValueError(
                f"{url[:200]} is a URL, which is not fetched unless you allow it: `--allow-urls`, in Python "
                "`allow_urls=True` of the data set. Or fetch the file, and name its path."
            )
        if self._fetching is None:
            self._fetching = Fetching(self.rules.seconds, self.rules.hosts)
        try:
            data = self._fetching.get(url, self._left)
        except NotPublic as error:
            raise ValueError(
                f"{url[:200]}: {error}; `--allow-host {error.host}` lets data name it, in Python "
                f"`allow_urls=UrlRules(hosts=[{error.host!r}])`."
            ) from error
        self._left -= len(data)
        return data


__all__ = ["Fetched", "UrlRules", "url_rules"]

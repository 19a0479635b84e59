"""JSON over HTTP to one server: what the transport loses is asked again, what it answers never."""

import ipaddress
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from gate.errors import ConfigError, StageError
from gate.terms import JsonValue

_OK = 200
_TRANSIENT = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 8.0
_CONNECT_SECONDS = 10.0
_QUOTED = 500  # characters of a server's message that are worth showing

_Asked = TypeVar("_Asked")
_Given = TypeVar("_Given")


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        url: what was asked.
        status: the HTTP status.
        content: the body; None where it is not JSON.
        message: the body in words, for errors.
    """

    url: str
    status: int
    content: Any
    message: str

    @property
    def is_ok(self) -> bool:
        """Whether the server did what it was asked, and said so in JSON."""
        return self.status == _OK and self.content is not None

    def demand(self) -> Any:
        """The content of a reply that has to be one.

        Raises:
            StageError: the server refused; its own words are in it.
        """
        if not self.is_ok:
            raise StageError(f"{self.url} answers {self.status}: {self.message}")
        return self.content


class Connection:
    """A server at a URL; may be used by several threads.

    Attributes:
        url: its address, without a trailing /v1.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        timeout_seconds: float,
        retry_seconds: float,
        concurrency: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set up, without asking anything yet.

        Proxies of the environment are followed, save to this machine itself.

        Args:
            url: http:// or https://, with or without a trailing /v1.
            key: sent as a bearer token, and never shown.
            timeout_seconds: the longest wait for one answer.
            retry_seconds: how long to go on asking after an answer was lost in transport.
            concurrency: connections kept open.
            sleep: waits between attempts.

        Raises:
            ConfigError: the URL is not one, or holds what must not be recorded.
        """
        import httpx2

        self.url = _clean(url)
        self._key = key
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS)),
            limits=httpx2.Limits(
                max_connections=concurrency, max_keepalive_connections=concurrency
            ),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            trust_env=not _is_this_machine(self.url),
        )

    def close(self) -> None:
        """Close what is open; nothing may be asked after it."""
        self._client.close()

    def get(self, path: str) -> Reply:
        """The reply to a GET.

        Raises:
            StageError: the server could not be reached for `retry_seconds`.
        """
        return self._reply("GET", path, None)

    def post(self, path: str, body: dict[str, JsonValue]) -> Reply:
        """The reply to a POST of JSON.

        Raises:
            StageError: the server could not be reached for `retry_seconds`.
        """
        return self._reply("POST", path, body)

    def _reply(self, method: str, path: str, body: dict[str, JsonValue] | None) -> Reply:
        response = self._send(method, path, body)
        try:
            content = response.json()
        except ValueError:
            content = None
        return Reply(
            f"{self.url}{path}",
            response.status_code,
            content,
            self._hide_key(_words_of(content, response.text)),
        )

    def _send(self, method: str, path: str, body: dict[str, JsonValue] | None) -> Any:
        """A response that is the server's own, after as many attempts as there is time for."""
        import httpx2

        pause, deadline = _FIRST_PAUSE_SECONDS, None
        while True:
            wanted = 0.0
            try:
                response = self._client.request(method, f"{self.url}{path}", json=body)
            except httpx2.TransportError as error:
                told = str(error) or type(error).__name__
            else:
                if response.status_code not in _TRANSIENT:
                    return response
                told = f"it answers {response.status_code}: {response.text[:_QUOTED]}"
                wanted = _seconds_wanted(response.headers.get("Retry-After"))
            now = time.monotonic()
            deadline = now + self._retry_seconds if deadline is None else deadline
            pause = max(pause, wanted)
            if now + pause > deadline:
                raise StageError(
                    f"{self.url}{path}: no answer for {self._retry_seconds} seconds: "
                    f"{self._hide_key(told)}",
                    hint="start the server, or raise retry_seconds or timeout_seconds, and run "
                    "again: what it has answered is kept",
                )
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def ask_in_order(
    ask: Callable[[_Asked], _Given], questions: Iterable[_Asked], *, concurrency: int
) -> Iterator[_Given]:
    """The answers in the order of the questions, with `concurrency` of them under way at once."""
    waiting: deque[Future[_Given]] = deque()
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for question in questions:
                if len(waiting) == concurrency:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(ask, question))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _clean(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"endpoint.url: {url!r} is not an address", hint="such as http://127.0.0.1:8000"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "endpoint.url: it holds more than an address, and would be recorded",
            hint="put the key into an environment variable and name that in api_key_variable",
        )
    return url.rstrip("/").removesuffix("/v1")


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words_of(content: Any, text: str) -> str:
    """What a server says of an error, in any of the ways that servers say it."""
    while isinstance(content, dict):
        content = next(
            (content[name] for name in ("error", "message", "detail") if content.get(name)), None
        )
    words = content if isinstance(content, str) else json.dumps(content) if content else text
    return words[:_QUOTED]


def _seconds_wanted(header: str | None) -> float:
    """The wait a Retry-After header asks for: a number of seconds, or a date."""
    if header is None:
        return 0.0
    try:
        return float(header)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())

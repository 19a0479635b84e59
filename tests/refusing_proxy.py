"""A server on this machine that hands requests on to another, until a test wants one to fail."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from answering_server import AnsweringServer


class RefusingProxy(AnsweringServer):
    """Stands before a server; `refused` are parts of "METHOD path" that get 400, for as long.

    Attributes:
        on_request: called with "METHOD path" before a request is handed on.
    """

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.refused: tuple[str, ...] = ()
        self.asked: list[str] = []
        self.on_request = lambda line: None

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Refuse a request, or hand it on and its answer back."""
        line = f"{request.command} {request.path}"
        self.asked.append(line)
        self.on_request(line)
        if any(part in line for part in self.refused):
            status, content = 400, b'{"error_code": "BAD_REQUEST", "message": "as the test wants"}'
        else:
            status, content = self._handed_on(request, body)
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _handed_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection(self._host, timeout=60)
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept")
                   if name in request.headers}  # fmt: skip
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

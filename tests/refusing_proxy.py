"""A server on this machine that hands requests on to another, until a test wants one to fail."""

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class RefusingProxy:
    """Stands before a server; `refused` are parts of "METHOD path" that get 400, for as long.

    Attributes:
        on_request: called with "METHOD path" before a request is handed on.
    """

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.refused: tuple[str, ...] = ()
        self.asked: list[str] = []
        self.on_request = lambda line: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "RefusingProxy":
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def handle_any(self):
                owner.serve(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._http.shutdown()
        self._http.server_close()

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

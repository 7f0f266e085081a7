"""Receivers that tests start: an HTTP server that can be down, slow or rude, and a mail server, on free ports."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Takes posts; ``answer`` is the status it gives, 0 cuts the connection after it kept the message."""

    def __init__(self) -> None:
        self.answer = 200
        self.location = ""
        self.got: list[tuple[str, dict]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.paths.append(self.path)
                receiver.headers.append(dict(self.headers))
                if receiver.answer in {0, 200}:
                    receiver.got.append((self.headers["Idempotency-Key"], json.loads(body)))
                if receiver.answer == 0:
                    self.connection.close()
                    return
                self.send_response(receiver.answer)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815  # as http.server calls it

            def log_message(self, *_) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/secret-token"

    @property
    def ids(self) -> list[str]:
        """Idempotency keys in the order in which they came first: who has one already takes the message for a copy."""
        return list(dict.fromkeys(key for key, _ in self.got))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str], list[int]]]:
    """A mail server in plain text: its port, the mails it took, and the codes with which it answers RCPT next."""
    mails: list[str] = []
    codes: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(220, "test")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"QUIT":
                    self._say(221, "bye")
                    return
                if verb == b"DATA":
                    self._say(354, "go on")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part.decode())
                    mails.append("".join(lines))
                    self._say(250, "taken")
                elif verb == b"RCPT" and codes:
                    self._say(codes.pop(0), "no")
                else:
                    self._say(250, "ok")

        def _say(self, code: int, text: str) -> None:
            self.wfile.write(f"{code} {text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1], mails, codes
        finally:
            server.shutdown()
            thread.join()

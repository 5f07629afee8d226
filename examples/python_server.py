"""A server in another language: its listening socket is descriptor 3.

    procession run -i 2 --listen 127.0.0.1:8000 --interpreter python3 examples/python_server.py

The kernel gives each connection to one of the workers. Alone, it listens itself.
"""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"hello from process {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def listening_socket():
    """The socket that we were given, or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    return socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 8000))))


# The address is not bound: the socket is put in its place.
server = ThreadingHTTPServer(("127.0.0.1", 0), Hello, bind_and_activate=False)
server.socket.close()
server.socket = listening_socket()
server.serve_forever()

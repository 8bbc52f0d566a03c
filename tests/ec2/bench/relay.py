"""Carries one connection of a guest from QEMU (stdin and stdout) to the port on loopback that argv names."""

import os
import socket
import sys
import threading

host = socket.create_connection(("127.0.0.1", int(sys.argv[1])))


def to_host():
    while data := os.read(0, 65536):
        host.sendall(data)
    host.shutdown(socket.SHUT_WR)


threading.Thread(target=to_host, daemon=True).start()
while data := host.recv(65536):
    while data:
        data = data[os.write(1, data) :]

#!/usr/bin/env python3
"""An example client of Quartet's HTTP API that needs only the `requests` package.

    scripts/example_client.py --addr http://127.0.0.1:8080 integration

Registers, uploads a song to one node, waits at another node until it is separated, downloads every part, makes a mix,
and deletes everything. Give --addr twice to name both nodes; with one, the client finds the other in /cluster. Prints
each step. Exits with 0 on success, or with 1 and an error message.
"""

import argparse
import io
import math
import secrets
import struct
import sys
import time
import uuid
import wave
from pathlib import Path

import requests


class UnexpectedResponse(Exception):
    """A response other than the expected one."""


class Node:
    """A session with one node. Any node accepts any request."""

    def __init__(self, address, timeout):
        self.address = address.rstrip("/")
        self.timeout = timeout
        self.session = requests.Session()

    def send(self, method, path, expected=200, **options):
        """Sends a request, retries it while the cluster has no majority (503), and returns the response."""
        deadline = time.monotonic() + self.timeout
        while True:
            response = self.session.request(method, self.address + path, timeout=self.timeout, **options)
            if response.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(min(float(response.headers.get("Retry-After", 1)), 5))
        if response.status_code != expected:
            raise UnexpectedResponse(
                f"{method} {self.address}{path} returned {response.status_code}: {error_text(response)}"
            )
        return response

    def data(self, method, path, expected=200, **options):
        """Sends a request and returns the `data` field of the JSON response."""
        return self.send(method, path, expected, **options).json()["data"]


def error_text(response):
    """The errors of a response. Error codes are stable; messages may change."""
    try:
        return "; ".join(f"{error['code']}: {error['message']}" for error in response.json()["errors"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def check(condition, message):
    """Fails with the message unless the condition holds."""
    if not condition:
        raise UnexpectedResponse(message)


def log(message):
    """Prints a completed step."""
    print(message, flush=True)


def synthesized_song(seconds):
    """A short WAV file with two chords and a beat."""
    rate = 44100
    frames = bytearray()
    for at in range(seconds * rate):
        now = at / rate
        chord = (220, 277.2, 329.6) if now % 2 < 1 else (196, 246.9, 293.7)
        tone = sum(math.sin(2 * math.pi * pitch * now) for pitch in chord) * 0.15
        beat = math.sin(2 * math.pi * 60 * now) * math.exp(-12 * (now % 0.5)) * 0.4
        left, right = tone + beat, 0.8 * tone + beat
        frames += struct.pack("<hh", int(left * 32000), int(right * 32000))
    file = io.BytesIO()
    with wave.open(file, "wb") as song:
        song.setnchannels(2)
        song.setsampwidth(2)
        song.setframerate(rate)
        song.writeframes(bytes(frames))
    return file.getvalue()


def two_nodes(addresses, timeout):
    """Sessions with the given nodes; with one address, two references to one session."""
    nodes = [Node(address, timeout) for address in addresses]
    if len(nodes) == 1:
        nodes.append(nodes[0])
    return nodes[:2]


def another_node(first, timeout):
    """A session with another live node, or the first session in a single-node cluster."""
    cluster = first.data("GET", "/cluster")
    scheme = first.address.split("://")[0]
    for other in cluster["nodes"]:
        if other["alive"] and other["id"] != cluster["id"]:
            return Node(f"{scheme}://{other['http']}", timeout)
    return first


def integration(addresses, song, timeout):
    """Runs through the API with one song, at two nodes."""
    first, second = two_nodes(addresses, timeout)

    # Create an account, and a token that any node accepts.
    name, password = f"example-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    account = {"username": name, "password1": password, "password2": password}
    user = first.data("POST", "/auth/register", 201, json=account)["user"]
    first.data("POST", "/auth/login", json={"username": name, "password": password})
    made = first.data("POST", f"/users/{user['id']}/tokens", 201, json={"name": "scripts/example_client.py"})
    if len(addresses) == 1:
        second = another_node(first, timeout)
    for node in (first, second):
        node.session.headers["Authorization"] = f"Bearer {made['secret']}"
    me = second.data("GET", "/auth/me")["user"]
    check(me["id"] == user["id"], "the second node returns another user for the token")
    log(f"registered {name} at {first.address}; the token works at {second.address}")
    try:
        separate_and_download(first, second, song)
    finally:
        # Delete the account in any case. The cluster rejects the deletion of its last administrator.
        status = 409 if me["administrator"] else 200
        first.send("DELETE", f"/users/{user['id']}", status, params={"songs": "delete"})
    log("deleted the account" if status == 200 else f"kept the account {name}: it is the last administrator")


def separate_and_download(first, second, content):
    """Uploads to the first node and sends the other requests to the second."""
    # With an Idempotency-Key, a repeated upload returns the same song, so that retries are safe.
    idempotent = {"headers": {"Idempotency-Key": str(uuid.uuid4())}}
    form = {"data": {"title": "An example"}, "files": {"file": ("example.wav", content)}}
    song = first.data("POST", "/songs/upload", **form, **idempotent)["song"]
    again = second.data("POST", "/songs/upload", **form, **idempotent)["song"]
    check(again["id"] == song["id"], "the repeated upload created a second song")
    log(f"uploaded the song {song['id']}, {len(content)} bytes; the repeated upload returned the same song")

    deadline = time.monotonic() + second.timeout
    while song["status"] in ("UPLOADED", "SPLITTING"):
        check(time.monotonic() < deadline, f"the song is not separated after {second.timeout} s")
        time.sleep(0.2)
        song = second.data("GET", f"/songs/{song['id']}")["song"]
    check(song["status"] == "SPLIT", f"song status {song['status']}: {song['error']}")
    log(f"separated: {song['tasks_done']} of {song['tasks_total']} tasks")

    for part, formats in sorted(song["parts"].items()):
        for kind, address in sorted(formats.items()):
            file = second.send("GET", address)
            check(len(file.content) == int(file.headers["Content-Length"]), f"{address} is truncated")
            half = first.send("GET", address, 206, headers={"Range": "bytes=0-99", "If-Range": file.headers["ETag"]})
            check(half.content == file.content[:100], f"{address} differs between nodes")
            first.send("GET", address, 304, headers={"If-None-Match": file.headers["ETag"]})
            log(f"  {part}.{kind}: {len(file.content)} bytes, identical at both nodes")
    original = second.send("GET", song["parts"]["song"]["wav"]).content
    check(original == content, "the downloaded song differs from the upload")

    mix = second.send("GET", f"/songs/{song['id']}/mix.mp3", params={"drums": 1, "bass": 0.5})
    check(mix.headers["Content-Type"] == "audio/mpeg" and len(mix.content) > 1000, "the mix is not a valid MP3")
    log(f"mixed drums and bass: {len(mix.content)} bytes")

    second.send("DELETE", f"/songs/{song['id']}")
    first.send("GET", f"/songs/{song['id']}", 404)
    log("deleted the song at both nodes")


def main():
    """Parses the command line and runs the client."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", action="append", required=True, metavar="URL", help="address of a node; at most twice")
    parser.add_argument("--song", type=Path, metavar="FILE", help="WAV file to upload; synthesized by default")
    parser.add_argument("--patience", type=float, default=300, metavar="SECONDS", help="timeout of each wait")
    parser.add_argument("action", choices=["integration"])
    arguments = parser.parse_args()
    if len(arguments.addr) > 2:
        parser.error("at most two --addr are allowed")
    try:
        song = arguments.song.read_bytes() if arguments.song else synthesized_song(6)
        integration(arguments.addr, song, arguments.patience)
    except (UnexpectedResponse, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    log("all steps succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())

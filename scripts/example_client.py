#!/usr/bin/env python3
"""An example of a program that uses Quartet, with nothing but requests.

    scripts/example_client.py --addr http://127.0.0.1:8080 integration

registers, uploads a song at one node, waits at another until it is split, downloads every part, makes a mix, and
deletes it all again. With --addr given twice, those two nodes are asked; with one, the other is found in /cluster.
It prints each step and ends with 0 if all went as it should, with 1 and a sentence if it did not.
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


class Refused(Exception):
    """An answer that is not the one that was hoped for."""


class Node:
    """One node, and who asks it. Any node takes any request."""

    def __init__(self, address, patience):
        self.address = address.rstrip("/")
        self.patience = patience
        self.session = requests.Session()

    def ask(self, method, path, expected=200, **more):
        """Sends a request, again while no majority of the nodes answers, and gives the answer."""
        deadline = time.monotonic() + self.patience
        while True:
            answer = self.session.request(method, self.address + path, timeout=self.patience, **more)
            if answer.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), 5))
        if answer.status_code != expected:
            raise Refused(f"{method} {self.address}{path} answered {answer.status_code}: {explained(answer)}")
        return answer

    def data(self, method, path, expected=200, **more):
        """What the envelope of a JSON answer holds."""
        return self.ask(method, path, expected, **more).json()["data"]


def explained(answer):
    """Why something was refused: the codes stay the same, the messages are for people."""
    try:
        return "; ".join(f"{error['code']}: {error['message']}" for error in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def check(fact, words):
    """What must be so."""
    if not fact:
        raise Refused(words)


def say(words):
    """A step that went well."""
    print(words, flush=True)


def composed(seconds):
    """A short song: two chords and a beat, as WAV."""
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


def two_nodes(addresses, patience):
    """The nodes to ask: those that were named, and if that is one, another one that lives."""
    nodes = [Node(address, patience) for address in addresses]
    if len(nodes) == 1:
        nodes.append(nodes[0])
    return nodes[:2]


def another_node(first, patience):
    """A node that lives beside the first; the first itself in a cluster of one."""
    cluster = first.data("GET", "/cluster")
    scheme = first.address.split("://")[0]
    for other in cluster["nodes"]:
        if other["alive"] and other["id"] != cluster["id"]:
            return Node(f"{scheme}://{other['http']}", patience)
    return first


def integration(addresses, song, patience):
    """All that people do with a song, at two nodes."""
    first, second = two_nodes(addresses, patience)

    # An account, and a token that any node takes.
    name, password = f"example-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    account = {"username": name, "password1": password, "password2": password}
    user = first.data("POST", "/auth/register", 201, json=account)["user"]
    first.data("POST", "/auth/login", json={"username": name, "password": password})
    made = first.data("POST", f"/users/{user['id']}/tokens", 201, json={"name": "scripts/example_client.py"})
    if len(addresses) == 1:
        second = another_node(first, patience)
    for node in (first, second):
        node.session.headers["Authorization"] = f"Bearer {made['secret']}"
    me = second.data("GET", "/auth/me")["user"]
    check(me["id"] == user["id"], "the second node takes us for somebody else")
    say(f"registered as {name} at {first.address}; {second.address} knows it")
    try:
        with_a_song(first, second, song)
    finally:
        # Whatever went wrong above, nothing of ours stays behind. Only the last administrator cannot go.
        gone = 409 if me["administrator"] else 200
        first.ask("DELETE", f"/users/{user['id']}", gone, params={"songs": "delete"})
    say("deleted the account" if gone == 200 else f"the account of {name} is the cluster's first, and stays")


def with_a_song(first, second, content):
    """Uploads at the first node, and does the rest at the second."""
    # The key makes it safe to send an upload again whose answer was lost: it is the same song.
    sending = {"headers": {"Idempotency-Key": str(uuid.uuid4())}}
    form = {"data": {"title": "An example"}, "files": {"file": ("example.wav", content)}}
    song = first.data("POST", "/songs/upload", **form, **sending)["song"]
    again = second.data("POST", "/songs/upload", **form, **sending)["song"]
    check(again["id"] == song["id"], "the upload that was sent twice is two songs")
    say(f"uploaded the song {song['id']}, {len(content)} bytes; sent again to the other node it is the same one")

    deadline = time.monotonic() + second.patience
    while song["status"] in ("UPLOADED", "SPLITTING"):
        check(time.monotonic() < deadline, f"the song is not split after {second.patience} s")
        time.sleep(0.2)
        song = second.data("GET", f"/songs/{song['id']}")["song"]
    check(song["status"] == "SPLIT", f"the song is {song['status']}: {song['error']}")
    say(f"split: {song['tasks_done']} of {song['tasks_total']} tasks")

    for part, formats in sorted(song["parts"].items()):
        for kind, address in sorted(formats.items()):
            file = second.ask("GET", address)
            check(len(file.content) == int(file.headers["Content-Length"]), f"{address} is cut off")
            half = first.ask("GET", address, 206, headers={"Range": "bytes=0-99", "If-Range": file.headers["ETag"]})
            check(half.content == file.content[:100], f"{address} differs between the nodes")
            first.ask("GET", address, 304, headers={"If-None-Match": file.headers["ETag"]})
            say(f"  {part}.{kind}: {len(file.content)} bytes, the same at both nodes")
    check(second.ask("GET", song["parts"]["song"]["wav"]).content == content, "the song itself came back changed")

    mix = second.ask("GET", f"/songs/{song['id']}/mix.mp3", params={"drums": 1, "bass": 0.5})
    check(mix.headers["Content-Type"] == "audio/mpeg" and len(mix.content) > 1000, "the mix is none")
    say(f"a mix of drums and bass: {len(mix.content)} bytes")

    second.ask("DELETE", f"/songs/{song['id']}")
    first.ask("GET", f"/songs/{song['id']}", 404)
    say("deleted the song; it is gone at both nodes")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", action="append", required=True, metavar="URL", help="a node; may be given twice")
    parser.add_argument("--song", type=Path, metavar="FILE", help="a WAV file to upload; one is composed without it")
    parser.add_argument("--patience", type=float, default=300, metavar="SECONDS", help="the longest wait for anything")
    parser.add_argument("what", choices=["integration"])
    asked = parser.parse_args()
    if len(asked.addr) > 2:
        parser.error("two nodes are asked, no more")
    try:
        song = asked.song.read_bytes() if asked.song else composed(6)
        integration(asked.addr, song, asked.patience)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())

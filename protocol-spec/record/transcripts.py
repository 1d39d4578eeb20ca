"""Turns transcripts of the original browser client into vectors.

usage: python3 transcripts.py VECTORS_FOLDER TRANSCRIPT...

A transcript line is `<seconds> WS> <frame>`, `<seconds> WS< <frame>` or
`<seconds> HTTP POST <url> [<body>] -> ...`. Tokens and the random part of names are replaced by
others of the same length, so that payload lengths stay true.
"""

import json
import pathlib
import re
import sys

CLIENT = "socket.io-client@2.3.0 of the original page in Chromium"
EVENT = re.compile(r"^42(\[.*\])$", re.S)


def redact(text: str) -> str:
    text = re.sub(r"\b[A-Za-z0-9]{60}\b", "T" * 60, text)
    return re.sub(r"\b(alice|bob)(mws[a-z0-9]+)", lambda m: m[1] + "x" * len(m[2]), text)


def shape(value):
    if isinstance(value, dict):
        return tuple((k, shape(v)) for k, v in value.items())
    return value if value in ("", False, None) else type(value).__name__


def split_payload(body: str):
    """`<length>:<packet>` with lengths in UTF-16 units; plain on purpose."""
    units = body.encode("utf-16-le")
    at = 0
    while at < len(units):
        colon = at
        while units[colon : colon + 2] != b":\0":
            colon += 2
        length = int(units[at:colon].decode("utf-16-le"))
        begin = colon + 2
        at = begin + 2 * length
        yield units[begin:at].decode("utf-16-le")
    if at != len(units):
        raise ValueError("the transcript shows other text than was sent")


TYPES = ["open", "close", "ping", "pong", "message", "upgrade", "noop"]
CLAUSES = {"login": "CHAT-15", "room": "CHAT-22", "roomout": "CHAT-32", "message": "CHAT-37", "count": "UNR-1"}


def main(folder: pathlib.Path, transcripts):
    events, payloads, seen = [], [], set()
    for transcript in transcripts:
        source = f"{CLIENT}, transcript {pathlib.Path(transcript).stem}"
        for line in pathlib.Path(transcript).read_text(encoding="utf-8").split("\n"):
            line = redact(line.strip())
            if match := re.match(r"^[\d.]+ WS([<>]) (.*)$", line):
                add_event(events, seen, "c2s" if match[1] == ">" else "s2c", match[2], source)
            elif match := re.match(r"^[\d.]+ HTTP POST /\S+ \[(\d+:.*)\] -> 200", line):
                try:
                    packets = list(split_payload(match[1]))
                except ValueError:
                    continue  # The transcript's writer replaced a character.
                for packet in packets:
                    add_event(events, seen, "c2s", packet, source)
                kinds = ("payload", tuple(p[:6] for p in packets), len(match[1]))
                if kinds not in seen and len(payloads) < 8:
                    seen.add(kinds)
                    payloads.append(payload(f"legacy: POST {len(payloads) + 1}", match[1], packets, source))
    write(folder / "chat_events.jsonl", events)
    write(folder / "engine_io_payloads.jsonl", payloads)


def add_event(events, seen, direction, packet, source):
    match = EVENT.match(packet)
    if not match:
        return
    name, *args = json.loads(match[1])
    # Of the original's own events only `count` is unchanged; the rest gained members (see Departs).
    if direction == "s2c" and name != "count":
        return
    key = (direction, name, shape(args[0]))
    if key in seen and not (name == "message" and len(events) < 6):
        return
    seen.add(key)
    if "base64," in packet:
        return
    events.append({
        "clause": CLAUSES[name],
        "name": f"legacy: {name} {len(events) + 1}",
        "dir": direction,
        "protocol": "any",
        "form": "sio",
        "text": packet[1:],
        "verdict": "accept",
        "meaning": {"event": name, "args": args, "schema": f"{direction}.{name}"},
        "origin": "reference-recorded",
        "source": source,
    })


def payload(name, body, packets, source):
    return {
        "clause": "EIO-31",
        "name": name,
        "dir": "c2s",
        "protocol": "eio3",
        "form": "payload-text",
        "text": body,
        "verdict": "accept",
        "meaning": {"packets": [{"type": TYPES[int(p[0])], "data": p[1:]} for p in packets]},
        "origin": "reference-recorded",
        "source": source,
    }


def write(path, lines):
    kept = []
    if path.exists():
        kept = [l for l in path.read_text(encoding="utf-8").split("\n") if l and CLIENT not in l]
    new = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines]
    path.write_text("\n".join(kept + new) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(kept)} kept, {len(new)} recorded")


main(pathlib.Path(sys.argv[1]), sys.argv[2:])

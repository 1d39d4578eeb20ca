"""A chat between two python-socketio clients: login, join, messages both ways, leaving.

usage: chat.py URL TRANSPORT ROOM TOKEN_A EMAIL_A TOKEN_B EMAIL_B
"""

import queue
import sys
import time
from importlib.metadata import version

import socketio

URL, TRANSPORT, ROOM, *PEOPLE = sys.argv[1:]
ROOM = int(ROOM)
WAIT = 10
TEXT = "from python: 你好 😀 ü☃ \"q\" \\"
if TRANSPORT == "polling" and version("python-engineio").startswith("3."):
    # It counts code points where the protocol counts UTF-16 units, and loses its place in a payload of
    # several packets after a character outside the first plane.
    TEXT = TEXT.replace("😀", "☃")


class Person:
    def __init__(self, token, email):
        self.email = email
        self.events = {name: queue.Queue() for name in ("count", "room", "roomout", "message", "chat_error")}
        self.client = socketio.Client(reconnection=False)
        for name, events in self.events.items():
            self.client.on(name, lambda *args, events=events: events.put(args))
        transports = None if TRANSPORT == "default" else [TRANSPORT]
        self.client.connect(f"{URL}?api_token={token}", transports=transports)

    def next(self, name, test=lambda *args: True):
        while True:
            args = self.events[name].get(timeout=WAIT)
            if test(*args):
                return args

    def call(self, name, payload):
        return self.client.call(name, payload, timeout=WAIT)

    def disconnect(self):
        # If a POST of its has no answer yet, python-engineio ends its writer without sending the packets of
        # `disconnect`, and the server learns of it from the next ping only. An acknowledgement may come before
        # the answer to the POST that asked for it.
        self.client.eio.queue.join()
        time.sleep(0.2)
        self.client.disconnect()


def check(is_true, what):
    if not is_true:
        sys.exit(f"failed: {what}")


anna = Person(*PEOPLE[0:2])
boris = Person(*PEOPLE[2:4])
if TRANSPORT != "polling":
    check(anna.client.eio.current_transport == "websocket", "upgraded to websocket")
else:
    check(anna.client.eio.current_transport == "polling", "stays on polling")

welcome = anna.call("login", {"name": anna.email})
check(welcome["ok"] is True, f"login: {welcome}")
check("room1" in anna.next("count")[0], "count after login")

joined = anna.call("room", {"roomid": ROOM})
check(joined["ok"] and joined["online"] == 1, f"join: {joined}")
anna.next("room", lambda roster, meta: meta["online"] == 1)
boris.client.emit("room", {"roomid": str(ROOM), "name": boris.email})
roster, _ = anna.next("room", lambda roster, meta: meta["online"] == 2)
check(len(roster) == 2, f"roster of two: {roster}")

sent = anna.call("message", {"roomid": ROOM, "msg": TEXT, "img": ""})
check(sent["ok"] is True, f"message: {sent}")
(heard,) = boris.next("message")
check(heard["msg"] == TEXT and heard["seq"] == sent["seq"], f"boris heard {heard}")
check(heard["userid"] != anna.email, "others do not see the e-mail")
(echo,) = anna.next("message")
check(echo["userid"] == anna.email, f"anna's echo {echo}")
boris.client.emit("message", {"roomid": ROOM, "msg": "and back", "img": ""})
(back,) = anna.next("message")
check(back["msg"] == "and back", f"anna heard {back}")

refused = anna.call("message", {"roomid": ROOM, "msg": b"\x01\x02", "img": ""})
check(refused.get("code") == "binary_unsupported", f"binary: {refused}")

left = boris.call("roomout", {"roomid": ROOM})
check(left["ok"] is True, f"roomout: {left}")
anna.next("roomout", lambda roster, meta: meta["online"] == 1)
boris.call("room", {"roomid": ROOM})
anna.next("room", lambda roster, meta: meta["online"] == 2)
boris.disconnect()
anna.next("roomout", lambda roster, meta: meta["online"] == 1)
anna.disconnect()
print("ok")

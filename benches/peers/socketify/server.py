"""The raw WebSocket baseline: one topic on uWebSockets, as PyPI socketify carries it."""

import sys

from socketify import App, CompressOptions, OpCode


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    app = App()
    app.ws(
        "/*",
        {
            "compression": CompressOptions.DISABLED,
            "max_payload_length": 1024 * 1024,
            # The default of 64 KiB drops messages in the coalescing cells.
            "max_backpressure": 64 * 1024 * 1024,
            "idle_timeout": 120,
            "open": lambda ws: ws.subscribe("room"),
            "message": lambda ws, message, opcode: app.publish("room", message, OpCode.TEXT),
        },
    )

    def listening(config) -> None:
        print(f"socketify listening on http://127.0.0.1:{config.port}", flush=True)

    app.listen(port, listening)
    app.run()


if __name__ == "__main__":
    main()

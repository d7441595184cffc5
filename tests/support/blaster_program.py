"""A program that is started as bngblaster is, and does what its configuration says: for tests of a
controller.

``{"die": TEXT}`` says so and ends, ``{"kill": true}`` ends by a signal, ``{"late": SECONDS}`` opens its
socket late, ``{"deaf": true}`` ignores SIGINT, ``{"answers": {COMMAND: TEXT}}`` answers with a text as it
is; other commands are answered with the request. ``{"silent": true}`` reads and never answers.
"""

import json
import os
import signal
import socket
import sys
import time


def main() -> None:
    words = sys.argv[1:]
    if words == ["-v"]:
        print("Version: 9.9.9\nCompiler: test (1)\nIO Modes: one (default), two")  # noqa: T201
        return
    options = dict(zip(words[::2], words[1::2], strict=False))
    with open(options["-C"], encoding="utf-8") as file:  # noqa: PTH123
        settings = json.load(file)
    print(json.dumps(words))  # noqa: T201
    sys.stdout.flush()
    if "die" in settings:
        sys.exit(settings["die"])
    if settings.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if settings.get("deaf") else lambda *_: sys.exit(0))
    time.sleep(settings.get("late", 0))
    if "-J" in options:
        with open(options["-J"], "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("{}")
    serve(options["-S"], settings)


def serve(path: str, settings: dict[str, object]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        os.rename(f"{path}.new", path)  # noqa: PTH104 - whoever sees it can connect
        while True:
            connection, _ = listener.accept()
            with connection:
                answer(connection, settings)


def answer(connection: socket.socket, settings: dict[str, object]) -> None:
    request = connection.recv(65536)
    if settings.get("silent"):
        connection.recv(1)
        return
    asked = json.loads(request) if request else {}
    answers = settings.get("answers", {})
    assert isinstance(answers, dict)
    text = answers.get(asked.get("command"))
    if text is None:
        text = json.dumps({"status": "ok", "code": 200, "asked": asked})
    connection.sendall(str(text).encode())


if __name__ == "__main__":
    main()

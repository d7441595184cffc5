"""Run by the interpreter of a peer's own environment: calls a Kea client library as its users do.

``python kea_client_calls.py LIBRARY PORT < CALLS``: the calls are a JSON list of ``[daemon, method,
arguments]``; their results, or the exceptions that they raise, are printed as a JSON list.
"""

from __future__ import annotations

import importlib
import json
import sys


def connected(library: str, port: str) -> object:
    """The library's entry, for an agent on 127.0.0.1."""
    kea = importlib.import_module(library).Kea
    return kea("http://127.0.0.1", int(port)) if library == "pykeadhcp" else kea(f"http://127.0.0.1:{port}")


def outcome(entry: object, daemon: str, method: str, arguments: list[object]) -> object:
    """What one call gives."""
    try:
        answer = getattr(getattr(entry, daemon), method)(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if answer is None:
        return None
    return json.loads(answer.model_dump_json() if hasattr(answer, "model_dump_json") else answer.json())


def main() -> None:
    """Read the calls, print the outcomes."""
    entry = connected(*sys.argv[1:])
    calls = json.load(sys.stdin)
    json.dump([outcome(entry, *call) for call in calls], sys.stdout)


if __name__ == "__main__":
    main()

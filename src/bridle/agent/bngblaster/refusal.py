"""What the controller answers instead of doing it."""

from __future__ import annotations

__all__ = ["Refusal", "not_found", "running"]


class Refusal(Exception):
    """A request is refused: the HTTP status and the text. ``plain``: as text, where the original has it so;
    as JSON otherwise. After ``wait`` seconds trying again makes sense; 0: nobody knows."""

    def __init__(self, status: int, text: str, *, plain: bool = False, wait: float = 0.0) -> None:
        super().__init__(text)
        self.status: int = status
        self.text: str = text
        self.plain: bool = plain
        self.wait: float = wait


def not_found() -> Refusal:
    """There is no such instance."""
    return Refusal(404, "404 page not found")


def running() -> Refusal:
    """What is asked for can be done with a stopped instance only."""
    return Refusal(412, "instance is running")

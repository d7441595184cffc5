"""A command manager listening on channels."""

from bridle.server.channel import GRACE, Answer, Channel, HttpSettings, Pages
from bridle.server.server import SOCKET_MODE, Server

__all__ = ["GRACE", "SOCKET_MODE", "Answer", "Channel", "HttpSettings", "Pages", "Server"]

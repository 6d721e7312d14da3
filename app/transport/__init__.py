"""Framed streams between peers: persistent, ordered, pipelined, on a port of their own."""

from app.transport.frames import Frame, FrameError
from app.transport.network import PeerNetwork

__all__ = ["Frame", "FrameError", "PeerNetwork"]

"""WebSocket frames that need no parser: each a whole message, unfragmented, of text or bytes, and not long.

Theory: nearly all that a session says and hears is such frames, many in one piece of bytes. For a short one the library
takes several times as long as the JSON in it does, since its parser may stop at any byte, and makes an object and an
event of each. So these are cut out of what has come here, and the parser gets what is left: the long, the fragmented,
the control frames, and whatever breaks the protocol, which is for it to say. (RFC 6455, 5.2)
"""

from __future__ import annotations

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # In C, where there is a compiler.

_WHOLE = (0x81, 0x82)
"""The first byte of a text's, and of a binary message's only frame, without extensions."""
_MASKED = 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127
"""In place of the payload's length: it stands in so many bytes behind it."""


def read(data: bytes, most_bytes: int) -> tuple[list[bytes], int]:
    """The payloads of the plain frames that `data` begins with, none longer than `most_bytes`; and where they end."""
    payloads: list[bytes] = []
    at, end = 0, len(data)
    while end - at >= 6 and data[at] in _WHOLE:
        length, mask = data[at + 1] - _MASKED, at + 2
        if length == _TWO_BYTES:
            length, mask = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        start = mask + 4
        stop = start + length
        if not 0 <= length <= most_bytes or data[at + 1] == _MASKED + _EIGHT_BYTES or stop > end:
            break
        payloads.append(apply_mask(data[start:stop], data[mask:start]))
        at = stop
    return payloads, at


def size(data: bytes) -> int | None:
    """Of the frame that `data` begins with, all its bytes; None where its head is not whole."""
    if len(data) < 2:
        return None
    length, head = data[1] & ~_MASKED, 2 + 4 * (data[1] >= _MASKED)
    more = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(length, 0)
    if len(data) < 2 + more:
        return None
    return head + more + (int.from_bytes(data[2 : 2 + more], "big") if more else length)


def text(payload: bytes) -> bytes:
    """The frame of a server that says this."""
    length = len(payload)
    if length < _TWO_BYTES:
        return bytes((0x81, length)) + payload
    if length < 1 << 16:
        return bytes((0x81, _TWO_BYTES)) + length.to_bytes(2, "big") + payload
    return bytes((0x81, _EIGHT_BYTES)) + length.to_bytes(8, "big") + payload

"""The session: one WebSocket over which a client publishes and consumes as fast as it can, in frames of JSON.

    frames      what each side may say
    wire        the connection: frames in and out, and whether it is still there
    window      how much the client may have unanswered
    lines       frames for one topic become commands, many frames each, one command at a time
    publishing, settling    two kinds of such lines
    consuming   a consumer: messages under its credit
    endpoint    accepts, reads, and sees to it that what was handed out comes back

docs/session.md tells clients the same from their side.
"""

from app.api.session.endpoint import Sessions

__all__ = ["Sessions"]

"""What can go wrong with a log on disk, as a tree.

    StorageError
     ├ LogDamaged      durable bytes have changed; never repaired here, since acknowledged entries may lie there
     ├ LogMissing      there is none, and a new one must not begin; nothing was changed
     ├ WrongIdentity   the directory belongs to another cluster, group or node
     ├ UnknownFormat   written by a version of this program that this one cannot read
     ├ LogInUse        another process holds the directory
     ├ LogFull         no room: nothing was written, the log goes on as before
     └ LogFailed       an earlier write or sync failed, so this object refuses every further one

Rules of this file: an error says in plain words what is wrong, where, and what the operator can do.
Anything else that the disk refuses is an `OSError` and passes through; after it the process must end.
"""

from __future__ import annotations

import errno

_ADVICE = (
    "This node's copy of the log cannot be trusted; its peers hold the entries. Stop this node, move its data "
    "directory away (do not edit it), and start the node again with an empty one: it is restored from its peers. "
    "With a single node, or with more than a minority damaged, restore a backup instead."
)


class StorageError(Exception):
    """The root of all that this package raises by itself."""


class LogDamaged(StorageError):
    """Bytes that were durable are gone or changed. Nothing was changed on disk when this is raised."""

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"log damaged: {path} at byte {offset}: {what}. {_ADVICE}")
        self.path = path
        self.offset = offset
        self.what = what
        self.advice = _ADVICE


class LogMissing(StorageError):
    """What the log was applied to is there, and the log is not."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"the log in {directory} is gone, and with it this node's votes, while the state that it led to stands "
            "beside it. Put it back, or move this node's whole directory away and start it again empty; it will get "
            "everything from its peers."
        )


class WrongIdentity(StorageError):
    """The log was written by another cluster, group or node than the one that opens it."""


class UnknownFormat(StorageError):
    """The log's format version is not one that this program reads."""


class LogInUse(StorageError):
    """Another process has this log open."""


class LogFull(StorageError):
    """The disk has no room for the next segment. Nothing was written; the same call may succeed later."""


class LogFailed(StorageError):
    """A write or sync of this log failed before; what is on disk is unknown until it is opened anew."""


def is_no_space(error: OSError) -> bool:
    """Whether the disk, or this user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

"""The node's durable log: `SegmentedLog`, over any `FileSystem`."""

from app.storage.errors import (
    LogDamaged,
    LogFailed,
    LogFull,
    LogInUse,
    LogMissing,
    StorageError,
    UnknownFormat,
    WrongIdentity,
)
from app.storage.filesystem import File, FileSystem, RealFile, RealFileSystem
from app.storage.format import Identity
from app.storage.log import SEGMENT_BYTES, SegmentedLog

__all__ = [
    "SEGMENT_BYTES",
    "File",
    "FileSystem",
    "Identity",
    "LogDamaged",
    "LogFailed",
    "LogFull",
    "LogInUse",
    "LogMissing",
    "RealFile",
    "RealFileSystem",
    "SegmentedLog",
    "StorageError",
    "UnknownFormat",
    "WrongIdentity",
]

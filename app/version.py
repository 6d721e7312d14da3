"""The version of this program, as the status and the package say it."""

VERSION = "0.1.0"

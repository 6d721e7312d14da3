"""Settings: what a node is told, from four places, checked before anything else happens.

Rules of this package: nothing here is imported that costs time at start (no FastAPI, no pydantic); a value is
read once, into a frozen `Settings`; whatever is wrong ends in one sentence that says what to write instead.

`Settings` in `settings.py` is the one table. A row there (name, type, default, unit, help, check) is the
flag `--tick-ms`, the variable `RMQ_TICK_MS`, the key `tick_ms` under "settings" in the cluster file, a line
of `--help` and a line of the report at start. A flag beats the environment, the environment beats the file,
the file beats the default.
"""

from app.config.cluster_file import Endpoint, NodeAddress
from app.config.load import describe, load, load_or_exit
from app.config.settings import Settings
from app.config.table import ConfigError

__all__ = ["ConfigError", "Endpoint", "NodeAddress", "Settings", "describe", "load", "load_or_exit"]

"""One node: drives the Raft group over its disk and its peers, and serves operations to whoever asks.

`runner` carries out what the core decides, `service` is what the HTTP side sees; no FastAPI here.
"""

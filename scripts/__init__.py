"""What stands behind `make`: standard library only, so that it runs before anything is installed.

Rules of this package: it never asks a question; each command may be given again at any time and completes what
is missing; what it does not do is said in one sentence with what to do about it. It is the tooling, not the
node: nothing of `app` is imported, and an older Python than the node's can run it.
"""

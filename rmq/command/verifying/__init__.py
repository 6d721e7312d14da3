"""`rmq verify`, from the load to the verdict. Imported when the command runs and not before: it needs the checker.

    notes      everything that was seen, written down as `chaos.history` has it
    clients    publishers, consumers, and who asks each node for its status
    course     begin, load, drain, the nodes' last states
    live       the line on a terminal
    words      what was found, as sentences and as JSON

Rules of this package: what is seen is written down and nothing is concluded from it here; the verdict is the checker's
alone. Of `chaos` only what judges is imported, and its recorder: no Docker, nothing of a node.
"""

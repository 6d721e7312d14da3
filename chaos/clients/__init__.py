"""Those who use the cluster while it is being broken: publishers, consumers, workers on leases, creators, readers and a
poll of /status.

Each is a task that asks one thing at a time, as a careful user would: with a time limit, with a key where it retries,
to another node when one does not answer. What each saw goes into the history, and nothing else is concluded here.
"""

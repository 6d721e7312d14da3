"""The queue's tables, on one page.

message   What was published: written once, never changed, deleted when nobody needs it any more. `id` counts in the
          order of publishing over all topics; the index walks one topic in order. A consumed message is deleted, so
          the index's first row is always the next one to hand out: no position to keep, nothing to skip over.
topic     A name and its settings. `id` counts in the order of creation and is never used again, so that a topic
          deleted and made anew shares nothing with its former self.
hot       The few numbers that nearly every commit changes, msgpack, together in one page, because a commit costs by
          the page: row 0 is the machine's (`state.Numbers`), the others are the topics' (`state.Tally`).
claim     Answers that can be asked for again by key, oldest first by `id`, bounded (`dedup`).
dead_topic  Deleted topics whose messages still lie in `message`. Such rows are waste, not state: no answer and no
          hash sees them, and every apply sweeps a few away (`topics.reap`).
configuration  The cluster's last configuration, opaque, at most one row.

What comes later has its place. Leases, delays, returns and delivery counts are rows of one more table, keyed by
(subscription, message), for those messages only that are not simply waiting; a subscription is a position in the
topic's sequence; a lock for each group stands beside it. A dead letter changes its `topic_id` and `sequence` and keeps
its `id`. What a publisher attaches and no index needs is in `attributes` (`publish.Attributes`).
"""

from __future__ import annotations

APPLICATION_ID = 0x524D5142
"""'RMQB' in the file's header: this database is a broker's state."""
FORMAT_VERSION = 1

SCHEMA = f"""
BEGIN;
CREATE TABLE message (
    id           INTEGER PRIMARY KEY,
    topic_id     INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    attributes   BLOB,
    body         BLOB NOT NULL
);
CREATE UNIQUE INDEX message_in_topic ON message (topic_id, sequence);
CREATE TABLE topic (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    settings     BLOB NOT NULL,
    created_ms   INTEGER NOT NULL
);
CREATE TABLE hot (
    id           INTEGER PRIMARY KEY,
    numbers      BLOB NOT NULL
);
CREATE TABLE claim (
    id           INTEGER PRIMARY KEY,
    topic_id     INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    expires_ms   INTEGER NOT NULL,
    answer       BLOB NOT NULL
);
CREATE UNIQUE INDEX claim_by_key ON claim (topic_id, kind, key);
CREATE TABLE dead_topic (
    id           INTEGER PRIMARY KEY
);
CREATE TABLE configuration (
    id           INTEGER PRIMARY KEY CHECK (id = 0),
    data         BLOB NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION}
"""
"""Opens a transaction and leaves it open: row 0 of `hot` belongs into it."""

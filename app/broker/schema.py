"""The queue's tables, on one page.

What was published
    message   Written once, or when its pack is taken apart; deleted when no subscription needs it any more. `id` counts
              in the order of publishing over all topics. `store`: the topic's messages as a whole; a purge gives the
              topic a new one. `lane`: what the message waits in. Lanes 0 to 9 are the priorities, 0 where nobody asked
              for one; each group of a topic has a lane of its own, from 10 on; -1 is for messages whose time has not
              come. `due_ms`: when it comes, or in another lane, when it is over; NULL for nearly all.
    pack      Plain messages that were published together, in one row (`packs`): `count` of them with consecutive ids
              and sequences from `id` and `first` on; `contents`: [[attributes, body], …]. A message is here or in
              `message`, never in both.
    message_group  Lanes of groups; the last message takes the row away.

How far each subscription is
    A subscription has a cursor in each lane: whatever lies from it on waits there, in order. A message behind the
    cursor is done (and mostly deleted), unless it is leased or set aside.
    lease     What one Receive handed out, until `due_ms`: [[lane, sequence, deliveries, due_ms], …].
    aside     Behind the cursor and not done: 0 ready to be handed out before all that wait, 1 delayed until `due_ms`,
              2 dead, tried for its dead-letter topic again at `due_ms`. `nacked`: how its last lease ended.
    turn      The groups of a subscription that have messages, with their cursors; `turn` is the order in which they are
              served, NULL while one of the group's messages is leased or delayed.
    shared    Of a message with several subscriptions: those that are done with it, a bit for each slot.

The rest
    topic     A name and its settings. `id` counts in the order of creation and is never used again, so that a topic
              deleted and made anew shares nothing with its former self.
    hot       The few numbers that nearly every commit changes, msgpack, together in one page, because a commit costs
              by the page: row 0 is the machine's (`state.Numbers`), the others are the topics' (`state.Tally`).
    owner     Which topic a store or a subscription belongs to. Without a row here its other rows are waste, not state.
    chore     Work too long for one command: rows of dead stores and subscriptions to delete, messages that a deleted
              subscription had kept to look through. A few rows go with each command, the same on every replica.
    schedule  Messages to be published at the ticks of a cron expression.
    claim     Answers that can be asked for again by key, oldest first by `id`, bounded (`dedup`); several that came
              together share a row. `names` says whose they are, `contents` has them in the same order.
    configuration  The cluster's last configuration, opaque, at most one row.
"""

from __future__ import annotations

APPLICATION_ID = 0x524D5142
"""'RMQB' in the file's header: this database is a broker's state."""
FORMAT_VERSION = 7
PAGE_BYTES = 16 << 10
"""A pack of 32 KiB is three pages in place of nine, each of which is written twice: messages of 1 KB in batches take a
replica 20% less time than with SQLite's 4 KiB, small ones the same, with 5 to 35% more bytes on the disk."""

SCHEMA = f"""
BEGIN;
CREATE TABLE message (
    id           INTEGER PRIMARY KEY,
    store        INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    due_ms       INTEGER,
    attributes   BLOB,
    body         BLOB NOT NULL
);
CREATE UNIQUE INDEX message_in_lane ON message (store, lane, sequence);
CREATE UNIQUE INDEX message_in_order ON message (store, sequence) WHERE lane <> 0;
CREATE INDEX message_due ON message (due_ms, sequence) WHERE due_ms IS NOT NULL;
CREATE TABLE pack (
    id           INTEGER PRIMARY KEY,
    store        INTEGER NOT NULL,
    first        INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    contents     BLOB NOT NULL
);
CREATE UNIQUE INDEX pack_in_order ON pack (store, first, count);
CREATE TABLE message_group (
    store        INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    name         TEXT NOT NULL,
    PRIMARY KEY (store, lane)
) WITHOUT ROWID;
CREATE UNIQUE INDEX message_group_name ON message_group (store, name);
CREATE TABLE lease (
    id           INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL,
    due_ms       INTEGER NOT NULL,
    items        BLOB NOT NULL
);
CREATE INDEX lease_due ON lease (due_ms);
CREATE TABLE aside (
    subscription INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL,
    nacked       INTEGER NOT NULL,
    due_ms       INTEGER,
    PRIMARY KEY (subscription, state, lane, sequence)
) WITHOUT ROWID;
CREATE INDEX aside_due ON aside (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE turn (
    subscription INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    cursor       INTEGER NOT NULL,
    turn         INTEGER,
    PRIMARY KEY (subscription, lane)
) WITHOUT ROWID;
CREATE UNIQUE INDEX turn_next ON turn (subscription, turn) WHERE turn IS NOT NULL;
CREATE TABLE shared (
    store        INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    done         INTEGER NOT NULL,
    PRIMARY KEY (store, sequence)
) WITHOUT ROWID;
CREATE TABLE topic (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    settings     BLOB NOT NULL,
    created_ms   INTEGER NOT NULL,
    version      INTEGER NOT NULL
);
CREATE TABLE hot (
    id           INTEGER PRIMARY KEY,
    numbers      BLOB NOT NULL
);
CREATE TABLE owner (
    id           INTEGER PRIMARY KEY,
    topic        INTEGER NOT NULL
);
CREATE TABLE chore (
    id           INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL,
    target       INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    until        INTEGER NOT NULL,
    slot         INTEGER NOT NULL
);
CREATE TABLE schedule (
    id           INTEGER PRIMARY KEY,
    topic        INTEGER NOT NULL,
    name         TEXT NOT NULL,
    plan         BLOB NOT NULL,
    next_ms      INTEGER NOT NULL
);
CREATE UNIQUE INDEX schedule_name ON schedule (topic, name);
CREATE INDEX schedule_next ON schedule (next_ms);
CREATE TABLE claim (
    id           INTEGER PRIMARY KEY,
    expires_ms   INTEGER NOT NULL,
    names        BLOB NOT NULL,
    contents     BLOB NOT NULL
);
CREATE TABLE configuration (
    id           INTEGER PRIMARY KEY CHECK (id = 0),
    data         BLOB NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION}
"""
"""Opens a transaction and leaves it open: row 0 of `hot` belongs into it."""

"""Random command logs for hypothesis, crowded on purpose: few names, few keys, windows about as long as the steps."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish, Receive, TopicSettings, encode
from app.broker.item import Item

names = st.sampled_from(["a", "b", "A", "ä/ö"])
keys = st.none() | st.sampled_from(["k", "l", "m"])
bodies = st.binary(max_size=12) | st.just(b"x" * 30)
headers = st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
messages = st.builds(NewMessage, bodies, st.booleans(), headers)
odd_messages = st.builds(
    NewMessage, bodies, group=st.sampled_from([None, "g"]), delay_ms=st.integers(0, 1), priority=st.integers(0, 10)
)
settings = st.builds(
    TopicSettings, max_deliveries=st.sampled_from([None, None, None, 3]), dedup_window_ms=st.sampled_from([1000, 5000])
)

creates = st.builds(CreateTopic, names | st.sampled_from(["", "a\0", "x" * 513]), settings)
deletes = st.builds(DeleteTopic, names)
fingerprints = st.sampled_from([b"1", b"2"])
publishes = st.builds(Publish, names, st.lists(messages, min_size=1, max_size=4), keys, fingerprints)
odd_publishes = st.builds(Publish, names, st.lists(odd_messages, max_size=2), keys)
subscriptions = st.sampled_from(["default"] * 9 + ["other"])
mostly = st.sampled_from([True] * 9 + [False])
receives = st.builds(Receive, names, subscriptions, st.integers(1, 6), mostly, key=keys, final=st.booleans())
commands = st.one_of(publishes, publishes, receives, receives, creates, creates, deletes, odd_publishes).map(encode)
contents = st.one_of(
    commands.map(lambda data: (data, None)),
    commands.map(lambda data: (data, None)),
    commands.map(lambda data: (data, None)),
    st.binary(max_size=20).map(lambda data: (data, None)),
    st.just((None, None)),
    st.binary(max_size=9).map(lambda data: (None, data)),
)
steps = st.tuples(contents, st.sampled_from([0, 0, 1, 400, 999, 1000, 2500, -5000]), st.integers(0, 1))


@st.composite
def logs(draw: st.DrawFn, max_size: int = 60) -> list[Item]:
    """Items 1, 2, 3, …; terms rise, stamps mostly do."""
    items: list[Item] = []
    time_ms, term = 1_700_000_000_000, 1
    beginning = [((encode(CreateTopic(name)), None), 0, 0) for name in ("a", "b")]
    for (command, configuration), step_ms, term_step in beginning + draw(st.lists(steps, max_size=max_size)):
        time_ms += step_ms
        term += term_step
        items.append(Item(len(items) + 1, term, time_ms, command, configuration))
    return items


@st.composite
def batches(draw: st.DrawFn, items: list[Item]) -> list[list[Item]]:
    """The same log, cut somewhere."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(items) - 1)), max_size=12)))
    bounds = [0, *cuts, len(items)]
    return [items[lo:hi] for lo, hi in pairwise(bounds)]

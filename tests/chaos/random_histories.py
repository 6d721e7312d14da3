"""Small histories at random: some of a true queue (or list of names) and then perturbed, some of nothing but chance.

Theory. Chance alone hits neither verdict well: most of its histories are wrong at a glance, and the fine line between
right and wrong lies where a true history is off by a little. So most histories are of a queue that was really run,
each operation with an interval around its moment, and then changed in a few places, or in none. Times are small whole
numbers, so that ends meet starts all the time.

Rules of this file: all comes from the generator that is given; no history has more than eight single operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from chaos.history import Op

MOST = 8
"""Single operations in a history; an unknown receive counts for each message that it may take."""
Draft = dict[str, Any]
"""An operation's fields, still to be changed."""


def queue_history(rng: Random) -> list[Op]:
    """Operations of one topic."""
    drafts = _of_chance(rng) if rng.random() < 0.15 else _of_a_queue(rng)
    return _perturbed(rng, drafts, _QUEUE_CHANGES)


def topics_history(rng: Random) -> list[Op]:
    """Creations and lists."""
    return _perturbed(rng, _of_a_list(rng), _TOPIC_CHANGES)


def _draft(rng: Random, kind: str, at: int, **fields: Any) -> Draft:
    reach = rng.choice((0, 0, 1, 1, 2, 5))
    start, end = at - rng.randint(0, reach), at + rng.randint(0, reach)
    return {
        "kind": kind, "client": f"c{rng.randrange(3)}", "node": 0, "tries": 1, "start": start, "end": end,
        "outcome": "ok", "topic": "t", **fields,
    }  # fmt: skip


def _size(draft: Draft) -> int:
    if draft["kind"] == "receive" and draft["outcome"] == "unknown":
        return int(draft["max"])
    return max(1, len(draft.get("values", ())))


def _of_a_queue(rng: Random) -> list[Draft]:
    """A queue is run; what did not happen is unknown or failed, what happened is ok or unknown."""
    drafts: list[Draft] = []
    waiting: list[tuple[str, int]] = []
    at, sequence, left = 5, 0, rng.randint(4, MOST)
    publishing = rng.choice((0.35, 0.5, 0.65))
    while left > 0:
        at += rng.randint(0, 2)
        batch = min(rng.choice((1, 1, 1, 2, 3)), left)
        outcome = rng.choice(("ok",) * 9 + ("unknown",) * 3 + ("fail",))
        happens = outcome == "ok" or (outcome == "unknown" and rng.random() < 0.6)
        if rng.random() < publishing:
            sequence += rng.randint(1, 2)
            values = [f"v{len(drafts)}.{i}" for i in range(batch)]
            sequences = list(range(sequence, sequence + batch))
            sequence += batch - 1
            draft = _draft(rng, "publish", at, outcome=outcome, values=values, sequences=sequences)
            waiting += zip(values, sequences, strict=True) if happens else ()
        else:
            taken = waiting[:batch] if happens else []
            del waiting[: len(taken)]
            values, sequences = [value for value, _ in taken], [number for _, number in taken]
            draft = _draft(rng, "receive", at, outcome=outcome, values=values, sequences=sequences, max=batch)
        if outcome == "unknown" and rng.random() < 0.5:
            draft["start"] = max(0, draft["start"] - 4)
        left -= _size(draft)
        drafts.append(draft)
    return drafts


def _of_chance(rng: Random) -> list[Draft]:
    """Publishes of a few values, and receives of any of them."""
    drafts: list[Draft] = []
    values = [f"v{i}" for i in range(rng.randint(1, 3))]
    for i, value in enumerate(values):
        outcome = rng.choice(("ok", "ok", "unknown"))
        drafts.append(_draft(rng, "publish", rng.randint(5, 9), outcome=outcome, values=[value], sequences=[i]))
    for _ in range(rng.randint(1, 3)):
        outcome, told = rng.choice(("ok", "ok", "unknown")), rng.choice([*range(len(values)), None])
        answer = ([values[told]], [told]) if told is not None else ([], [])
        at = rng.randint(5, 12)
        drafts.append(_draft(rng, "receive", at, outcome=outcome, values=answer[0], sequences=answer[1], max=1))
    return drafts


def _of_a_list(rng: Random) -> list[Draft]:
    """A list of names is run."""
    drafts: list[Draft] = []
    names: list[str] = []
    at = 5
    for _ in range(rng.randint(3, MOST)):
        at += rng.randint(0, 2)
        outcome = rng.choice(("ok",) * 6 + ("unknown",) * 3 + ("fail",))
        if rng.random() < 0.5:
            drafts.append(_draft(rng, "list", at, names=list(names), topic=""))
            continue
        name = rng.choice("abc")
        created = name not in names
        if created and (outcome == "ok" or (outcome == "unknown" and rng.random() < 0.7)):
            names.append(name)
        drafts.append(_draft(rng, "create", at, outcome=outcome, topic=name, created=created))
    return drafts


def _perturbed(rng: Random, drafts: list[Draft], changes: Sequence[Callable[[Random, list[Draft]], None]]) -> list[Op]:
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
        rng.choice(changes)(rng, drafts)
    rng.shuffle(drafts)
    ops: list[Op] = []
    size = 0
    for draft in drafts:
        if draft["outcome"] != "ok":
            draft = {**draft, "sequences": [], "names": [], "created": None}
            if draft["kind"] == "receive":
                draft["values"] = []
        size += _size(draft)
        if size <= MOST:
            ops.append(Op(**draft))
    return ops


def _move(rng: Random, drafts: list[Draft]) -> None:
    """An operation took place at another time."""
    draft, by = rng.choice(drafts), rng.randint(-4, 4)
    draft["start"] += by
    draft["end"] += by


def _shrink(rng: Random, drafts: list[Draft]) -> None:
    """An operation took less time."""
    draft = rng.choice(drafts)
    draft["start"] = draft["end"] = rng.randint(draft["start"], draft["end"])


def _forget(rng: Random, drafts: list[Draft]) -> None:
    """An operation is not in the history."""
    if len(drafts) > 1:
        drafts.remove(rng.choice(drafts))


def _other_outcome(rng: Random, drafts: list[Draft]) -> None:
    """An operation ended in another way than it did."""
    rng.choice(drafts)["outcome"] = rng.choice(("ok", "unknown", "unknown", "fail"))


def _answers(drafts: list[Draft]) -> list[Draft]:
    return [draft for draft in drafts if draft.get("values")]


def _swap_sequences(rng: Random, drafts: list[Draft]) -> None:
    """Two messages' sequences are exchanged, in all that was said of them."""
    told = sorted({number for draft in _answers(drafts) for number in draft["sequences"]})
    if len(told) < 2:
        return
    place = rng.randrange(len(told) - 1)
    new = {told[place]: told[place + 1], told[place + 1]: told[place]}
    for draft in _answers(drafts):
        draft["sequences"] = [new.get(number, number) for number in draft["sequences"]]


def _swap_answers(rng: Random, drafts: list[Draft]) -> None:
    """Two operations of a kind exchange their messages, or one turns its own around."""
    one = rng.choice(drafts)
    other = rng.choice([draft for draft in drafts if draft["kind"] == one["kind"]])
    if one is other and "values" in one:
        one["values"], one["sequences"] = one["values"][::-1], one["sequences"][::-1]
    for field in ("values", "sequences", "max", "names"):
        if field in one:
            one[field], other[field] = other[field], one[field]


def _say_otherwise(rng: Random, drafts: list[Draft]) -> None:
    """One sequence is another."""
    told = _answers(drafts)
    if told:
        draft = rng.choice(told)
        place = rng.randrange(len(draft["sequences"]))
        draft["sequences"] = list(draft["sequences"])
        draft["sequences"][place] += rng.choice((-1, 1, 2))


def _receive_again(rng: Random, drafts: list[Draft]) -> None:
    """A message is received by one more."""
    told = [draft for draft in _answers(drafts) if draft["kind"] == "receive"]
    if told:
        drafts.append({**rng.choice(told), "start": rng.randint(4, 14), "end": 15})


def _see_empty(rng: Random, drafts: list[Draft]) -> None:
    """Somebody is answered that nothing waits."""
    drafts.insert(0, _draft(rng, "receive", rng.randint(4, 16), values=[], sequences=[], max=1))


def _take_unseen(rng: Random, drafts: list[Draft]) -> None:
    """Somebody's receive is unknown."""
    at, most = rng.randint(4, 14), rng.randint(1, 2)
    drafts.insert(0, _draft(rng, "receive", at, outcome="unknown", values=[], sequences=[], max=most))


def _turn_list(rng: Random, drafts: list[Draft]) -> None:
    """A list is answered with a name less, or more, or the other way round."""
    lists = [draft for draft in drafts if draft["kind"] == "list"]
    if lists:
        draft = rng.choice(lists)
        names = draft["names"]
        draft["names"] = rng.choice((names[:-1], names[1:], names[::-1], [*names, rng.choice("abc")]))


def _turn_created(rng: Random, drafts: list[Draft]) -> None:
    """A creation found the name there, or did not."""
    creates = [draft for draft in drafts if draft["kind"] == "create"]
    if creates:
        draft = rng.choice(creates)
        draft["created"] = not draft["created"]


_TIMES = (_move, _move, _shrink, _forget, _other_outcome)
_QUEUE_CHANGES = (
    *_TIMES, *[_see_empty] * 4, _take_unseen, _swap_sequences, _swap_sequences, _swap_answers, _say_otherwise,
    _receive_again,
)  # fmt: skip
_TOPIC_CHANGES = (*_TIMES, _swap_answers, _turn_list, _turn_created)

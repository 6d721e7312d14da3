"""`rmq`, the command, on a real node: in this process for its words, through pipes and terminals for its manners."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import LocalCluster
from rmq import Client, Published
from rmq.command.main import run
from rmq.session import UNANSWERED_MAX, Session
from tests.sdk.terminal import ROOT, Ran, Terminal, at_terminal, piped

ESCAPE = "\x1b"
LONG = "9" * 5000
"""More digits than Python makes a number of."""
Rmq = Callable[..., Ran]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalCluster(1) as alone:
        alone.wait_for_leader()
        yield f"http://127.0.0.1:{alone.ports[0]}"


@pytest.fixture
def rmq(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """A command in this process; nobody is at a terminal."""
    monkeypatch.setenv("RMQ_URL", url)
    monkeypatch.setenv("RMQ_CONTEXTS", str(tmp_path / "contexts.json"))

    def ask(*arguments: str) -> Ran:
        code = run(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ask


def ok(ran: Ran) -> str:
    assert (ran.code, ran.err) == (0, ""), ran
    return ran.out


# -- what it does -------------------------------------------------------------------------------------------


def test_a_topic_from_its_making_to_its_end(rmq: Rmq) -> None:
    ok(rmq("topic", "create", "life", "--lease", "5", "--max-deliveries", "1", "--dead-letter-topic", "life.dead"))
    assert ok(rmq("topic", "create", "life.dead")) == "Topic life.dead is there.\n"
    again = rmq("topic", "create", "life", "--lease", "6")
    assert again.code == 3 and "rmq topic show NAME" in again.err
    ok(rmq("topic", "set", "life", "--lease", "7", "--max-messages", "9", "--max-deliveries", "none"))
    shown = json.loads(ok(rmq("topic", "show", "life", "--json")))
    settings = shown["settings"]
    assert (settings["lease_s"], settings["max_messages"], settings["max_deliveries"]) == (7.0, 9, None)
    assert [each["name"] for each in json.loads(ok(rmq("--json", "topic", "ls", "life")))] == ["life", "life.dead"]
    assert "max_messages       9\n" in ok(rmq("topic", "show", "life"))
    ok(rmq("pub", "life", "a"))
    assert rmq("topic", "purge", "life").code == 2
    assert json.loads(ok(rmq("topic", "purge", "life", "--yes", "--json")))["purged"] == 1
    ok(rmq("topic", "rm", "life", "-y"))
    assert rmq("topic", "show", "life").code == 3


def test_bodies_of_all_forms_come_out_as_they_went_in(rmq: Rmq) -> None:
    ok(rmq("topic", "create", "forms"))
    assert ok(rmq("pub", "forms", "plain")) == "Message 1 of forms.\n"
    ok(rmq("pub", "forms", '{"a": [1, "é"]}', "--form", "json", "--header", "kind=x", "--message-group", "g"))
    ok(rmq("pub", "forms", "raw", "--form", "bytes"))
    ok(rmq("pub", "forms", "n={{n}}", "--template", "--count", "3"))
    peeked = json.loads(ok(rmq("peek", "forms", "--json")))
    assert [each["body"] for each in peeked] == ["plain", {"a": [1, "é"]}, {"base64": "cmF3"}, "n=1", "n=2", "n=3"]
    assert (peeked[1]["headers"], peeked[1]["group"]) == ({"kind": "x"}, "g")
    assert [each["sequence"] for each in json.loads(ok(rmq("peek", "forms", "--header", "kind=x", "--json")))] == [2]
    taken = ok(rmq("sub", "forms", "--count", "6"))
    assert taken == 'plain\n{"a": [1, "é"]}\nbase64:cmF3\nn=1\nn=2\nn=3\n'
    assert json.loads(ok(rmq("topic", "show", "forms", "--json")))["messages"] == 0


def test_the_same_dedup_id_stores_once(rmq: Rmq) -> None:
    ok(rmq("topic", "create", "once"))
    ok(rmq("pub", "once", "a", "--dedup-id", "x"))
    assert ok(rmq("pub", "once", "a", "--dedup-id", "x")) == "Message 1 of once, which was there already.\n"
    assert "would store one" in rmq("pub", "once", "a", "--count", "2", "--dedup-id", "x").err
    many = ["pub", "once", "n {{n}}", "--count", "2", "--template", "--dedup-id", "n-{{n}}", "--json"]
    assert [json.loads(ok(rmq(*many)))["duplicates"] for _ in range(2)] == [0, 2]


def test_many_messages_are_not_kept_in_mind(rmq: Rmq, monkeypatch: pytest.MonkeyPatch) -> None:
    ok(rmq("topic", "create", "thousands"))
    publish, alive, most = Session.publish, weakref.WeakSet[Future[Published]](), 0

    def watched(session: Session, topic: str, body: Any) -> Future[Published]:
        nonlocal most
        future = publish(session, topic, body)
        alive.add(future)
        most = max(most, len(alive))
        return future

    monkeypatch.setattr(Session, "publish", watched)
    assert "6,000 messages" in ok(rmq("pub", "thousands", "x", "--count", "6000"))
    assert most <= UNANSWERED_MAX + 1000


def test_groups_each_get_every_message(rmq: Rmq) -> None:
    ok(rmq("topic", "create", "many"))
    assert ok(rmq("group", "create", "many", "audit")) == "Group audit gets messages of many from number 1 on.\n"
    ok(rmq("pub", "many", "a", "--count", "2"))
    assert ok(rmq("sub", "many", "--group", "audit", "--count", "2")) == "a\na\n"
    listed = {each["name"]: each["ready"] for each in json.loads(ok(rmq("group", "ls", "many", "--json")))}
    assert listed == {"default": 2, "audit": 0}
    ok(rmq("group", "rm", "many", "audit", "--yes"))
    assert "rmq group ls" in rmq("sub", "many", "--group", "audit", "--count", "1").err


def test_dead_letters_are_found_and_get_another_chance(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "work", "--max-deliveries", "1", "--dead-letter-topic", "work.dead"))
    ok(rmq("topic", "create", "work.dead"))
    ok(rmq("pub", "work", "bad"))
    with Client(url) as client:
        client.nack(*client.receive("work"))
    listed = {each["topic"]: each for each in json.loads(ok(rmq("dlq", "ls", "--json")))}
    assert (listed["work.dead"]["from"], listed["work.dead"]["messages"]) == (["work"], 1)
    [dead] = json.loads(ok(rmq("dlq", "ls", "work.dead", "--json")))
    assert dead["dead_letter"]["topic"] == "work"
    assert ok(rmq("dlq", "redrive", "work.dead")) == "1 have another chance.\n"
    assert ok(rmq("sub", "work", "--count", "1")) == "bad\n"


def test_the_cluster_is_shown_and_its_leadership_cannot_go_nowhere(rmq: Rmq, url: str) -> None:
    [member] = json.loads(ok(rmq("cluster", "status", "--json")))["members"]
    assert (member["role"], member["lag"], member["ready"]) == ("Leader", 0, True)
    lines = ok(rmq("cluster", "watch", "--count", "2", "--every", "0.1", "--json")).splitlines()
    assert [json.loads(line)["leader"] for line in lines] == [0, 0]
    assert rmq("cluster", "transfer", "--to", "7").code == 3


def test_contexts_name_clusters(rmq: Rmq, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RMQ_URL")
    ok(rmq("context", "add", "here", url))
    ok(rmq("context", "add", "nowhere", "http://127.0.0.1:1"))
    ok(rmq("topic", "ls"))
    assert rmq("topic", "ls", "--context", "nowhere", "--timeout", "0").code == 4
    ok(rmq("context", "use", "nowhere"))
    assert rmq("topic", "ls", "--timeout", "0").code == 4
    ok(rmq("topic", "ls", "--url", url))
    listed = json.loads(ok(rmq("context", "ls", "--json")))
    assert [(each["name"], each["current"]) for each in listed] == [("here", False), ("nowhere", True)]
    ok(rmq("context", "rm", "nowhere"))
    assert "there is: here" in rmq("context", "use", "nowhere").err


# -- what cannot be right: one sentence, an exit code, no traceback -------------------------------------------


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that speaks something else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["topic", "ls", "--bogus"], 2, "rmq topic ls --help"),
        (["bogus"], 2, "rmq --help"),
        (["topic", "ls", "a", "b"], 2, "rmq topic ls --help"),
        (["pub", "t", "x", "--count", "0"], 2, "--count"),
        (["pub", "t", "{", "--form", "json"], 2, "no JSON"),
        (["pub", "t", "1e999", "--form", "json"], 2, "as JSON"),
        (["pub", "t", "[" * 100_000, "--form", "json"], 2, "no JSON"),
        (["pub", "t", "x", "--delay", "nan"], 2, "as JSON"),
        (["pub", "t", "x", "--dedup-id", "\udcff", "--template"], 2, "as JSON"),
        (["topic", "create", "a/b"], 2, "A-Z"),
        (["topic", "show", "\udcff"], 2, "A-Z"),
        (["topic", "ls", "--url", "http://.localhost"], 2, "http://HOST:PORT"),
        (["topic", "ls", "--url", "http://a\x01b:1"], 2, "http://HOST:PORT"),
        (["pub", "t", "{{what}}", "--template"], 2, "{{n}}"),
        (["sub", "t", "--idle", "1e12"], 2, "--idle"),
        (["pub", "t", "x", "--header", "x"], 2, "NAME=VALUE"),
        (["peek", "t", "--header", "x=\udcff"], 2, "NAME=VALUE"),
        (["peek", "t", "--group", "\udcff"], 2, "A-Z"),
        (["pub", "nosuch", "x"], 3, "rmq topic create NAME"),
        (["sub", "nosuch"], 3, "rmq topic create NAME"),
        (["peek", "a b"], 3, "A-Z"),
        (["topic", "set", "t"], 2, "--lease 60"),
        (["topic", "set", "t", "--max-bytes", "much"], 2, "--max-bytes"),
        (["topic", "set", "t", "--max-bytes", LONG], 2, "--max-bytes is a number or `none`, not '9999"),
        (["topic", "set", "t", "--dead-letter-topic", "a b"], 3, "A-Z"),
        (["group", "create", "t", "g", "--start", LONG], 2, "--start is a number or `earliest` or `latest`, not '9999"),
        (["group", "create", "t", "g", "--start", "soon"], 2, "--start"),
        (["peek", "t", "--count", "9" * 400], 2, "--count"),
        (["peek", "t", "--from", LONG], 2, "--from"),
        (["dlq", "ls", "t", "--count", "9" * 400], 2, "--count"),
        (["dlq", "redrive", "t", "--max", "9" * 400], 2, "--max"),
        (["sub", "t", "--count", "9" * 400], 2, "--count"),
        (["pub", "t", "x", "--count", "9" * 400], 2, "--count"),
        (["bench", "--messages", "9" * 400], 2, "--messages"),
        (["cluster", "transfer", "--to", LONG], 2, "--to"),
        (["cluster", "watch", "--count", "9" * 400], 2, "--count"),
        (["topic", "create", "t", "--overflow", "explode"], 2, "drop_oldest"),
        (["topic", "ls", "--url", "localhost:8001"], 2, "http://HOST:PORT"),
        (["topic", "ls", "--url", "http://127.0.0.1:1", "--timeout", "0"], 4, "rmq context ls"),
        (["topic", "ls", "--context", "nosuch"], 2, "rmq context add"),
    ],
)
def test_a_wrong_command_is_refused_in_a_sentence(rmq: Rmq, arguments: list[str], code: int, says: str) -> None:
    ran = rmq(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("rmq: ") and ran.err.count("\n") == 1 and says in ran.err
    assert LONG not in ran.err


@pytest.mark.parametrize("arguments", [[], ["topic"], ["context"]])
def test_without_a_command_the_help_is_shown_as_it_is(rmq: Rmq, arguments: list[str]) -> None:
    ran = rmq(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: rmq") and "\nCommands:\n" in ran.err


def test_who_is_no_node_is_told_apart(rmq: Rmq, url: str, stranger: str) -> None:
    tls = url.replace("http", "https")
    for wrong, code, says in ((stranger, 3, "does not speak HTTP"), (tls, 3, "write http://")):
        ran = rmq("topic", "ls", "--url", wrong, "--timeout", "0")
        assert ran.code == code and says in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_file_of_contexts_that_is_broken_is_not_overwritten(rmq: Rmq, tmp_path: Path, text: str) -> None:
    (tmp_path / "contexts.json").write_text(text)
    ran = rmq("context", "add", "a", "http://a")
    assert ran.code == 2 and "mend it, or remove it" in ran.err
    assert (tmp_path / "contexts.json").read_text() == text


@pytest.mark.parametrize("text", ['{"addresses": []}', '{"contexts": {}, "current": [1]}'])
def test_a_cluster_file_is_no_file_of_contexts(rmq: Rmq, tmp_path: Path, text: str) -> None:
    (tmp_path / "contexts.json").write_text(text)
    ran = rmq("context", "ls")
    assert ran.code == 2 and "no file of contexts" in ran.err and "remove" not in ran.err


def test_what_dead_letters_still_need_is_said(rmq: Rmq) -> None:
    made = ok(rmq("topic", "create", "feeds", "--dead-letter-topic", "buried"))
    assert made == "Topic feeds is there. No message becomes a dead one before it has --max-deliveries.\n"
    changed = ok(rmq("topic", "set", "feeds", "--max-deliveries", "2"))
    assert changed.endswith(" Dead messages stand still until you make buried: `rmq topic create buried`.\n")
    ok(rmq("topic", "create", "buried"))
    assert ok(rmq("topic", "set", "feeds", "--max-deliveries", "3")).endswith("version 3.\n")
    assert ok(rmq("topic", "create", "other", "--max-deliveries", "3")) == "Topic other is there.\n"


# -- pipes and terminals ------------------------------------------------------------------------------------


def test_lines_go_in_and_come_out_through_pipes(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "lines"))
    said = piped("pub", "lines", "--lines", "--json", given="one\ntwo\n\nthree", RMQ_URL=url)
    assert (said.code, json.loads(said.out)["stored"], said.err) == (0, 4, "")
    taken = piped("sub", "lines", "--count", "4", RMQ_URL=url)
    assert taken == Ran(0, "one\ntwo\n\nthree\n", "")
    big = piped("pub", "lines", given="x" * 1_100_000, RMQ_URL=url)
    assert big.code == 3 and "Send less at once" in big.err and big.err.count("\n") == 1


def test_a_table_has_colour_at_a_terminal_and_none_in_a_pipe(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "shown"))
    at, through = at_terminal("topic", "ls", "shown", RMQ_URL=url), piped("topic", "ls", "shown", RMQ_URL=url)
    assert at.code == through.code == 0
    assert ESCAPE in at.out and "shown" in at.out
    assert ESCAPE not in through.out and through.out.splitlines()[1].split()[:2] == ["shown", "0"]
    assert ESCAPE not in at_terminal("topic", "ls", "--json", RMQ_URL=url).out


@pytest.mark.parametrize("columns", [80, 140])
def test_whom_a_terminal_shows_as_the_leader(url: str, columns: int) -> None:
    terminal = Terminal("cluster", "watch", "--count", "2", "--every", "0.1", columns=columns, RMQ_URL=url)
    assert terminal.end() == 0
    for word in ("NODE", "ROLE", "Leader", "COMMITTED", "ready"):
        assert word in terminal.screen


def test_a_person_is_asked_before_something_is_lost(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "kept"))
    for answer, code in (("n\n", 2), ("y\n", 0)):
        terminal = Terminal("topic", "rm", "kept", RMQ_URL=url)
        terminal.wait_for("Delete the topic kept and its 0 messages?")
        terminal.type(answer)
        assert terminal.end() == code
    assert rmq("topic", "show", "kept").code == 3


def test_a_person_types_lines_and_another_sees_them_come(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "talk"))
    ear, mouth = Terminal("sub", "talk", RMQ_URL=url), Terminal("pub", "talk", "--lines", RMQ_URL=url)
    ear.wait_for("Ctrl-C ends")
    mouth.wait_for("Ctrl-D ends")
    mouth.type("hello\n")
    ear.wait_for("hello")
    mouth.type("\x04")
    assert mouth.end() == 0 and "1 messages in talk" in mouth.screen
    ear.type("\x03")
    assert ear.end() == 130 and "Traceback" not in ear.screen
    assert json.loads(ok(rmq("topic", "show", "talk", "--json")))["messages"] == 0


def test_a_reader_that_goes_away_loses_nothing(rmq: Rmq, url: str) -> None:
    ok(rmq("topic", "create", "head"))
    ok(rmq("pub", "head", "line {{n}} " + "x" * 2000, "--template", "--count", "200"))
    code = f"{sys.executable} -m rmq sub head --url {url} | head -n 3 | cut -c1-6; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "line 1\nline 2\nline 3\n", "")
    first = json.loads(ok(rmq("peek", "head", "--count", "1", "--json")))[0]["sequence"]
    assert first >= 4

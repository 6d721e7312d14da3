"""Each rule of the verdict by itself, verdict.json, and a page that is well-formed, self-contained and safe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from chaos import history
from chaos.checker import Report, check
from chaos.checks.findings import Anomaly
from chaos.figures import Figures, Round
from chaos.history import Op
from chaos.reporting.cases import LINE_CHARS, Case, examine
from chaos.reporting.markup import el, join, raw
from chaos.reporting.page import headline, page
from chaos.reporting.strips import nice
from chaos.reporting.summary import document, verdict_of
from chaos.reporting.timeline import Span, trace
from chaos.reporting.verdict import Verdict, exit_code, judge, overall
from chaos.reporting.writing import write
from tests.chaos.made_up_runs import DEMANDS, MadeUp, made_cases, put

CLEAN = Report([], {}, {}, {}, [])
GOOD_ROUND = Round(
    number=0, fault="kill-leader", targets=[1], leader=1, inject_at=6.0, heal_at=8.0, proven=True, proof="it is dead",
    undone=True, healed=True, healing="it lives", gap_s=1.0, gap_at=6.1, gap_healed_s=0.1, leader_s=0.5,
    redundant_s=0.7,
)  # fmt: skip
GOOD = Figures(
    acknowledged=5_000, before_rate=200.0, before_s=6.0, operations={"publish": {"ok": 5_000}}, errors={"no_answer": 9},
    window_s=60.0, longest_gap_s=1.0, longest_gap_at=6.1, elections=1, term_rise=1, phases=["warm", "end"],
    rounds=[GOOD_ROUND],
)  # fmt: skip


def with_round(**changed: object) -> Figures:
    return msgspec.structs.replace(GOOD, rounds=[msgspec.structs.replace(GOOD_ROUND, **changed)])


def with_(**changed: object) -> Figures:
    return msgspec.structs.replace(GOOD, **changed)


class TestVerdict:
    def test_passed_at_the_very_limits(self) -> None:
        assert judge(CLEAN, GOOD, DEMANDS) == Verdict("passed", [])

    def test_an_anomaly_fails(self) -> None:
        anomaly = Anomaly("lost", "'p0-1' was acknowledged and never came.", (3,))
        verdict = judge(Report([anomaly], {"lost": 1_200}, {}, {}, []), GOOD, DEMANDS)
        assert verdict.word == "failed"
        assert verdict.reasons == ["The checker found lost 1,200 times. 'p0-1' was acknowledged and never came."]

    def test_a_long_gap_with_a_healthy_majority_fails(self) -> None:
        verdict = judge(CLEAN, with_round(gap_s=1.0004), DEMANDS)
        assert verdict.word == "failed"
        assert verdict.reasons == [
            "Round 0 (kill-leader, node 1): 1.000 s without an acknowledgement, from 6.100 s on, though a majority was "
            "up and connected; 1 s are allowed."
        ]

    def test_a_long_gap_without_a_majority_is_what_must_be(self) -> None:
        assert judge(CLEAN, with_round(fault="kill-majority", gap_s=4.0), DEMANDS).word == "passed"

    def test_an_answer_that_no_fault_explains_fails(self) -> None:
        verdict = judge(CLEAN, with_(errors={"no_answer": 9, "internal": 1}), DEMANDS)
        assert verdict == Verdict("failed", ["Clients were answered 'internal' once, which no fault explains."])

    @pytest.mark.parametrize(
        ("figures", "reason"),
        [
            (with_round(healed=False, healing="still silent"), "healed, and not whole again: still silent."),
            (with_round(redundant_s=None), "healed, and full redundancy did not return."),
        ],
    )
    def test_a_cluster_that_does_not_become_whole_again_fails(self, figures: Figures, reason: str) -> None:
        verdict = judge(CLEAN, figures, DEMANDS)
        assert verdict.word == "failed"
        assert verdict.reasons[0].endswith(reason)

    @pytest.mark.parametrize(
        ("figures", "reason"),
        [
            (with_(before_rate=199.9), "a run counts from 200 on"),
            (with_(before_rate=None), "no time before the first fault"),
            (with_(acknowledged=4_999), "In all 4,999 operations"),
            (with_(rounds=[]), "Not one fault"),
            (with_(phases=["warm", "drain"]), "the last phase it reached is 'drain'"),
            (with_(phases=[]), "the last phase it reached is 'start'"),
            (with_round(proven=False, proof="it still answers"), "not shown to take hold: it still answers."),
            (with_round(undone=False, healed=False, healing="no engine"), "could not be healed: no engine."),
        ],
    )
    def test_what_proves_too_little_is_inconclusive(self, figures: Figures, reason: str) -> None:
        verdict = judge(CLEAN, figures, DEMANDS)
        assert verdict.word == "inconclusive"
        assert len(verdict.reasons) == 1
        assert reason in verdict.reasons[0]

    def test_missing_evidence_is_inconclusive(self) -> None:
        report = Report([], {}, {}, {}, ["Node 2's log was not read: copy it after the end."])
        assert judge(report, GOOD, DEMANDS) == Verdict("inconclusive", report.missing)

    def test_trouble_of_the_runner_is_inconclusive(self) -> None:
        assert judge(CLEAN, GOOD, DEMANDS, ["The queue was not seen empty."]).word == "inconclusive"

    def test_failed_goes_before_inconclusive(self) -> None:
        figures = msgspec.structs.replace(with_round(gap_s=3.0, proven=False), acknowledged=1)
        verdict = judge(CLEAN, figures, DEMANDS, ["trouble"])
        assert verdict.word == "failed"
        assert len(verdict.reasons) == 1

    def test_the_same_reason_is_not_said_a_hundred_times(self) -> None:
        rounds = [msgspec.structs.replace(GOOD_ROUND, number=number, gap_s=2.0) for number in range(100)]
        reasons = judge(CLEAN, with_(rounds=rounds), DEMANDS).reasons
        assert len(reasons) == 6
        assert reasons[-1] == "95 more rounds had gaps longer than allowed."

    def test_the_one_over_all(self) -> None:
        assert overall(["passed", "passed"]) == "passed"
        assert overall(["passed", "inconclusive"]) == "inconclusive"
        assert overall(["passed", "inconclusive", "failed"]) == "failed"
        assert overall([]) == "inconclusive"

    def test_exit_code(self) -> None:
        assert [exit_code("passed"), exit_code("failed"), exit_code("inconclusive")] == [0, 1, 1]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def cases(root: Path) -> list[Case]:
    """One that passed, one that failed, one inconclusive, one that is hostile from top to bottom, one long."""
    return made_cases(root)


@pytest.fixture(scope="module")
def report(root: Path, cases: list[Case]) -> Path:
    """The folder of their report."""
    write(root, cases)
    return root


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    """report.html."""
    return (report / "report.html").read_text()


@pytest.fixture(scope="module")
def tree(text: str) -> ElementTree.Element:
    """The same, parsed."""
    return ElementTree.fromstring(body_of(text))


class TestExamine:
    def test_a_good_run_passes(self, tmp_path: Path) -> None:
        made = MadeUp("kill-leader", ["kill-leader"], seconds=30)
        put(tmp_path / "run", list(made.records()))
        (tmp_path / "run" / "node0.log").touch()
        case = examine(tmp_path / "run", tmp_path, made.run, "kill it", DEMANDS)
        assert case.verdict == Verdict("passed", [])
        assert case.files == ["run/history.jsonl", "run/node0.log"]
        assert case.command == "make chaos SCENARIO=kill-leader SEED=1 SECONDS=30 NODES=3"

    def test_a_torn_history_cannot_pass_and_says_where(self, tmp_path: Path) -> None:
        made = MadeUp("kill-leader", ["kill-leader"], seconds=30)
        put(tmp_path / "run", list(made.records()))
        with (tmp_path / "run" / "history.jsonl").open("ab") as file:
            file.write(b'{"type":"op"')
        case = examine(tmp_path / "run", tmp_path, made.run, "kill it", DEMANDS)
        assert case.verdict.word == "inconclusive"
        assert len(case.verdict.reasons) == 1
        assert "torn" in case.verdict.reasons[0]

    def test_an_anomaly_before_the_tear_still_fails(self, tmp_path: Path) -> None:
        made = MadeUp("kill-leader", ["kill-leader"], seconds=30)
        phantom = Op(
            kind="receive", client="c0", node=0, tries=1, start=1, end=2, outcome="ok", topic="t", max=1,
            values=["nobody-1" + "x" * LINE_CHARS], sequences=[1],
        )  # fmt: skip
        put(tmp_path / "run", [made.run, phantom])
        with (tmp_path / "run" / "history.jsonl").open("ab") as file:
            file.write(b"{")
        case = examine(tmp_path / "run", tmp_path, made.run, "kill it", DEMANDS)
        assert case.verdict.word == "failed"
        assert list(case.lines) == [2]
        assert case.lines[2].startswith('{"type":"op","kind":"receive"')
        assert len(case.lines[2]) == LINE_CHARS

    def test_a_run_that_left_nothing_is_inconclusive_and_shown(self, tmp_path: Path) -> None:
        made = MadeUp("kill-leader", ["kill-leader"])
        case = examine(tmp_path / "none", tmp_path, made.run, "kill it", DEMANDS, ["The engine did not answer."])
        assert case.verdict.word == "inconclusive"
        assert case.verdict.reasons[:2] == [
            "The engine did not answer.", "There is no history: No such file or directory.",
        ]  # fmt: skip
        assert case.run == made.run
        ElementTree.fromstring(body_of(page([case])))

    def test_the_verdict_is_about_what_stands_in_the_file(self, tmp_path: Path) -> None:
        made, planned = MadeUp("kill-leader", ["kill-leader"], seed=2), MadeUp("other", ["bridge"]).run
        put(tmp_path / "run", list(made.records()))
        assert examine(tmp_path / "run", tmp_path, planned, "kill it", DEMANDS).run == made.run


def test_verdict_json(report: Path) -> None:
    found = json.loads((report / "verdict.json").read_bytes())
    assert found["overall"] == "failed"
    words = {each["scenario"]: each["verdict"] for each in found["scenarios"]}
    assert words == {
        "kill-leader": "passed", "phantom": "failed", "unproven": "inconclusive", "hostile": "failed",
        "mixed": "inconclusive",
    }  # fmt: skip
    first, second = found["scenarios"][:2]
    assert first["command"] == "make chaos SCENARIO=kill-leader SEED=1 SECONDS=60 NODES=3"
    assert first["reasons"] == []
    assert first["figures"]["acknowledged"] > 5_000
    assert len(first["figures"]["rounds"]) == first["gap_s"]["n"] > 20
    assert first["leader_s"]["max"] < 1
    assert first["checker"]["counts"]["publish"]["ok"] > 5_000
    assert second["checker"]["valid"] is False
    assert second["checker"]["totals"] == {"phantom": 1}
    assert second["checker"]["anomalies"][0]["lines"]
    by_fault = {each["fault"]: each for each in found["by_fault"]}
    assert by_fault["kill-leader"]["rounds"] == first["gap_s"]["n"]


def test_no_case_is_no_success() -> None:
    assert verdict_of([]) == "inconclusive"
    assert json.loads(document([]))["overall"] == "inconclusive"
    assert headline([]) == "No scenario was run."
    ElementTree.fromstring(body_of(page([])))


def test_the_headline_says_it_in_words(cases: list[Case]) -> None:
    passed, failed, doubtful = cases[:3]
    assert headline([passed]) == "The scenario kill-leader passed."
    assert headline([doubtful]) == "The scenario unproven is inconclusive."
    assert headline([passed] * 3) == "All 3 scenarios passed."
    assert headline([passed, failed]) == "Of 2 scenarios 1 failed."
    assert headline([passed, failed, doubtful]) == "Of 3 scenarios 1 failed and 1 is inconclusive."


def body_of(text: str) -> str:
    """A page without its doctype: what is left is XML too."""
    return text.removeprefix("<!doctype html>\n")


class TestPage:
    def test_is_well_formed(self, tree: ElementTree.Element) -> None:
        assert [child.tag for child in tree] == ["head", "body"]
        assert tree.get("lang") == "en"

    def test_refers_to_nothing_outside(self, text: str, tree: ElementTree.Element) -> None:
        assert not re.search(r"https?://|//[a-z]|@import|<link|<img|<iframe|src=", text)
        assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#hatch"}
        for link in tree.iter("a"):
            assert re.match(r"#|\./", link.get("href") or "")

    def test_runs_no_script_whatever_was_recorded(self, text: str, tree: ElementTree.Element) -> None:
        assert "<script" not in text
        assert not [name for each in tree.iter() for name in each.attrib if name.startswith("on")]
        shown = "".join(tree.itertext())
        assert "<script>alert(1)</script>&\"'\ufffd\ufffd" in shown

    def test_every_link_inside_has_its_place_and_every_place_one_name(self, tree: ElementTree.Element) -> None:
        places = [each.get("id") for each in tree.iter() if each.get("id")]
        assert len(places) == len(set(places))
        wanted = [href[1:] for link in tree.iter("a") if (href := link.get("href") or "").startswith("#")]
        assert wanted and set(wanted) <= set(places)

    def test_files_are_linked_by_addresses_that_lead_there(self, tree: ElementTree.Element) -> None:
        links = {link.get("href"): link.text for link in tree.iter("a")}
        assert links["./hostile/node%20%231%3F.log"] == "node #1?.log"
        assert links["./kill-leader/history.jsonl"] == "history.jsonl"

    def test_can_be_listened_to(self, tree: ElementTree.Element) -> None:
        for svg in (each for each in tree.iter("svg") if each.get("role") == "img"):
            assert (svg.findtext("title") or "").strip()
        for each in tree.iter("table"):
            assert each.get("aria-label")
            assert each.find("thead") is not None
            assert {head.get("scope") for head in each.iter("th")} <= {"col", "row", "colgroup"}
            assert all(row.find("th") is not None for row in each.iter("tr"))

    def test_says_what_was_and_was_not_shown(self, tree: ElementTree.Element) -> None:
        shown = "".join(tree.itertext())
        assert "not shown: a probe came through the cut" in shown
        assert "make chaos SCENARIO=unproven SEED=1 SECONDS=60 NODES=3" in shown
        assert "Anomaly phantom: 1" in shown
        assert '"outcome":"ok"' in shown  # the line of the history that shows it

    def test_only_faults_of_the_leader_are_in_the_picture_of_new_leaders(self, cases: list[Case]) -> None:
        rounds = [
            msgspec.structs.replace(GOOD_ROUND, leader_s=9.0, targets=targets, leader=leader, gap_s=0.1)
            for targets, leader in (([1], 1), ([1, 2], 1), ([2], 1), ([2], None))
        ]
        case = msgspec.structs.replace(cases[0], figures=with_(rounds=rounds))
        tree = ElementTree.fromstring(body_of(page([case])))
        dots = [dot.findtext("title") for dot in tree.iter("circle")]
        assert (dots.count("0.100 s"), dots.count("9.000 s")) == (4, 1)

    def test_what_took_no_hold_looks_different_and_is_marked(self, tree: ElementTree.Element) -> None:
        proven, unproven = (_bars(tree, "unproven", kind) for kind in ("fault proven", "fault unproven"))
        assert len(unproven) == 2
        assert {bar.findtext("text") for bar in unproven} == {"?"}
        assert all("not shown to take hold" in (bar.findtext("title") or "") for bar in unproven)
        assert {bar.findtext("text") for bar in proven} <= {"0", "1", "2", "0 1", "0 2", "1 2", None}

    def test_a_gap_that_is_too_long_is_marked_by_more_than_colour(self, tmp_path: Path, cases: list[Case]) -> None:
        figures = with_round(gap_s=1.5)
        case = msgspec.structs.replace(cases[0], figures=figures, verdict=judge(CLEAN, figures, DEMANDS))
        tree = ElementTree.fromstring(body_of(page([case])))
        assert [cell.text for cell in tree.iter("td") if cell.get("class") == "number over"] == ["1.50 !"]
        assert len([dot for dot in tree.iter("circle") if dot.get("class") == "dot over"]) == 1

    def test_a_long_run_is_cut_into_strips(self, tree: ElementTree.Element) -> None:
        sections = [each for each in tree.iter("section") if each.get("aria-labelledby")]
        strips = [
            len([div for div in each.iter("div") if (div.get("class") or "").split()[:1] == ["strip"]])
            for each in sections
        ]
        assert strips == [1, 1, 1, 1, 3]


def _bars(tree: ElementTree.Element, scenario: str, kind: str) -> list[ElementTree.Element]:
    """The bars of one kind in a scenario's picture."""
    section = next(each for each in tree.iter("section") if (each.findtext("h2") or "").startswith(scenario))
    return [each for each in section.iter("g") if (bar := each.find("rect")) is not None and bar.get("class") == kind]


class TestLeases:
    def test_what_became_of_deliveries_is_said_where_there_were_some(self, tmp_path: Path) -> None:
        made = MadeUp("calm", ["none"], seconds=20)
        common = {"client": "w0", "node": 0, "tries": 1, "outcome": "ok", "topic": "work"}
        ops = [
            Op(kind="publish", start=1, end=2, values=["w-1"], sequences=[1], **common),
            Op(kind="receive", start=3, end=4, max=1, lease_s=1, values=["w-1"], sequences=[1], tokens=["a"],
               deliveries=[1], **common),
            Op(kind="receive", start=5, end=6, max=1, lease_s=1, values=["w-1"], sequences=[1], tokens=["b"],
               deliveries=[2], **common),
            Op(kind="ack", start=6, end=7, tokens=["b"], codes=[None], **common),
        ]  # type: ignore[arg-type]  # fmt: skip
        for name, records in (("with", [*made.records(), *ops]), ("without", list(made.records()))):
            put(tmp_path / name, records)
            case = examine(tmp_path / name, tmp_path, made.run, "leases", DEMANDS)
            says = "2 deliveries, 1 of them not the first; 1 ran out"
            assert (says in page([case])) == (name == "with")
            assert case.report.valid


class TestTimeline:
    def test_spans_end_where_nobody_saw_the_node(self) -> None:
        found = trace(each for each in MadeUp("x", ["pause-leader"], seconds=10).records() if not isinstance(each, Op))
        assert (found.led[0].node, found.led[0].term) == (0, 2)
        assert all(span.start <= span.end <= found.end for span in (*found.led, *found.answered))
        assert [name for name, _ in found.phases] == ["warm", "faults", "heal", "drain"]

    def test_the_picture_ends_where_gathering_begins(self) -> None:
        base = next(each for each in MadeUp("x", ["none"], seconds=10).records() if isinstance(each, history.Status))
        statuses = [msgspec.structs.replace(base, at=tick / 10) for tick in range(40)]
        found = trace([history.Phase(name="warm", at=0.5), *statuses, history.Phase(name="gather", at=2.5)])
        assert (found.start, found.end, found.phases) == (0.5, 2.5, [("warm", 0.5)])
        assert found.answered == [Span(0, 0.0, 2.5, None)]

    def test_holes(self) -> None:
        at = [0.0, 0.1, 0.9, 1.8, 1.9]
        base = next(each for each in MadeUp("x", ["none"], seconds=10).records() if isinstance(each, history.Status))
        found = trace(msgspec.structs.replace(base, at=moment) for moment in at)
        assert found.answered == [Span(0, 0.0, 0.9, None), Span(0, 1.8, 1.9, None)]
        assert found.led == [Span(0, 0.0, 0.9, 2), Span(0, 1.8, 1.9, 2)]

    def test_rates_are_a_second_whatever_the_step(self) -> None:
        def publish(end: float, outcome: str = "ok") -> Op:
            sequences = [1] if outcome == "ok" else []
            return Op(
                kind="publish", client="p", node=0, tries=1, start=0, end=end, outcome=outcome, values=["v"],
                sequences=sequences,
            )  # type: ignore[arg-type]  # fmt: skip

        found = trace([publish(0.1), publish(0.2), publish(0.3, "unknown"), publish(1.1)])
        assert (found.published, found.consumed) == ([4.0, 0.0, 2.0], [0.0, 0.0, 0.0])


class TestMarkup:
    def test_only_markup_is_markup(self) -> None:
        assert el("td", "<b>", raw("<i></i>"), class_='"x"') == '<td class="&quot;x&quot;">&lt;b&gt;<i></i></td>'
        assert join("&", el("b", "&")) == "&amp;<b>&amp;</b>"

    def test_attributes(self) -> None:
        assert el("g", aria_label="a", x=1.5, title=None) == '<g aria-label="a" x="1.5"></g>'

    @pytest.mark.parametrize("text", ["\x00", "\x1b", "\ud800", "\uffff", "\x7f\x0b"])
    def test_what_html_may_not_hold_is_shown_as_a_replacement(self, text: str) -> None:
        made = el("p", text)
        assert "\ufffd" in made
        ElementTree.fromstring(made.encode())


@pytest.mark.parametrize(("value", "rounded"), [(0, 1), (1, 1), (1.5, 2), (241, 300), (7, 8), (9, 10), (1000, 1000)])
def test_scales_end_at_round_numbers(value: float, rounded: float) -> None:
    assert nice(value) == rounded


def test_the_checker_agrees_that_made_up_runs_are_good() -> None:
    assert check(MadeUp("kill-leader", ["kill-leader"], seconds=20).records()).missing == []

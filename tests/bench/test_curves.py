"""The pictures of how it scales: whole XML, each value in its place, also where there is one alone, or a zero."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from bench.scale.curves import (
    HEIGHT,
    WIDTH,
    Dot,
    Line,
    Panel,
    Picture,
    amount,
    bounds,
    draw,
    number_below,
    places,
    short,
    step,
    ticks,
)  # fmt: skip

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: Line, panels: int = 1) -> ElementTree.Element:
    return ElementTree.fromstring(draw(Picture("a < b", "clients", [Panel("rate & p99", lines)] * panels, "foot")))


def line(*values: tuple[float, float], name: str = "publish") -> Line:
    return Line(name, [Dot(x, y * 0.9, y, y * 1.1) for x, y in values])


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def test_every_value_has_its_place_and_its_words() -> None:
    tree = drawn(line((1, 100), (10, 1000), (100, 1000), (1000, 100)), panels=2)
    circles = [numbers(each, "cx", "cy") for each in tree.iter(f"{SVG}circle")]
    assert len(circles) == 8
    first = circles[:4]
    steps = [right[0] - left[0] for left, right in itertools.pairwise(first)]
    assert max(steps) - min(steps) < 0.3, "in proportion"
    assert first[0][1] == first[3][1] > first[1][1] == first[2][1], "more stands higher"
    assert circles[4][0] == pytest.approx(first[0][0] + WIDTH / 2, abs=0.2)
    for x, y in circles:
        assert 0 < x < WIDTH and 0 < y < HEIGHT
    texts = [each.text for each in tree.iter(f"{SVG}text")]
    assert "a < b" in texts and "rate & p99" in texts and "foot" in texts
    assert texts.count("1,000") >= 2 + 2 + 2, "on both axes, and beside the dots"
    assert any("100: 1,000, 900 to 1,100" in (each.text or "") for each in tree.iter(f"{SVG}title"))


def test_the_line_goes_through_the_dots_and_the_bars_hold_them() -> None:
    tree = drawn(line((1, 200), (2, 300)))
    (path,) = tree.iter(f"{SVG}polyline")
    dots = [numbers(each, "cx", "cy") for each in tree.iter(f"{SVG}circle")]
    assert [[float(number) for number in point.split(",")] for point in path.attrib["points"].split()] == dots
    bars = [numbers(each, "x1", "y1", "y2") for each in tree.iter(f"{SVG}line") if "stroke-opacity" in each.attrib]
    assert all(bar[0] == x and bar[1] > y > bar[2] for bar, (x, y) in zip(bars, dots, strict=True))


def test_two_lines_differ_not_in_colour_alone() -> None:
    tree = drawn(line((0, 100), (1000, 90)), line((0, 10), (1000, 9), name="take"))
    plain, dashed = tree.iter(f"{SVG}polyline")
    assert "stroke-dasharray" in dashed.attrib and "stroke-dasharray" not in plain.attrib
    assert plain.attrib["stroke"] != dashed.attrib["stroke"]
    assert {"publish", "take"} <= {each.text for each in tree.iter(f"{SVG}text")}
    assert len(list(tree.iter(f"{SVG}circle"))) == 2


@pytest.mark.parametrize("values", [[(64, 5000)], [(0, 5000)], [(64, 0)], [(0, 0)], [(1, 0), (4, 7)]])
def test_a_single_point_and_zeros_are_drawn(values: list[tuple[float, float]]) -> None:
    tree = drawn(line(*values))
    circles = [numbers(each, "cx", "cy") for each in tree.iter(f"{SVG}circle")]
    assert len(circles) == len(values)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in circles)


def test_zero_stands_a_step_left_of_the_first_value() -> None:
    assert places([0, 1000, 10_000], 0, 100) == {0: 0, 1000: 50, 10_000: 100}
    assert places([0, 1000], 0, 100) == {0: 0, 1000: 100}
    assert places([7], 0, 100) == {7: 50} and places([0], 0, 100) == {0: 50}


@pytest.mark.parametrize(
    ("values", "found"),
    [([1000], (200, 2000)), ([45_000, 38_000], (5000, 50_000)), ([0.03, 27], (0.02, 50)), ([0, 0], (0.2, 2)),
     ([100, 1000], (100, 1000))],
)  # fmt: skip
def test_an_axis_holds_all_values_and_a_decade_at_least(values: list[float], found: tuple[float, float]) -> None:
    low, high = bounds(values)
    assert (step(low), step(high)) == pytest.approx(found)
    assert high - low >= 3 and len(ticks(low, high)) >= 2


def test_steps() -> None:
    assert [step(number) for number in (-1, 0, 1, 2, 3, 4)] == [0.5, 1, 2, 5, 10, 20]
    assert [number_below(value) for value in (0.5, 1, 1.9, 2, 4.9, 5, 9.9, 10, 1e6)] == [-1, 0, 0, 1, 1, 2, 2, 3, 18]
    assert ticks(0, 12) == [1, 10, 100, 1000, 10_000]


def test_figures_are_short() -> None:
    assert [short(value) for value in (0.5, 16, 1000, 1024, 10_000, 50_000, 1e7)] == [
        "0.5", "16", "1,000", "1,024", "10k", "50k", "10M",
    ]  # fmt: skip
    assert [amount(value) for value in (0.0311, 2.8, 26.14, 4457.4)] == ["0.0311", "2.8", "26.1", "4,457"]

"""Axes: lists and ranges, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.sweep.axes import read_axis


def values(data: Any) -> list[Any]:
    return list(read_axis("k", data, "here").values)


def test_ranges_as_the_table_of_the_module_has_them() -> None:
    assert values([16, 32, 64]) == [16, 32, 64]
    assert values({"linear": [16, 64], "step": 16}) == [16, 32, 48, 64]
    assert values({"linear": [0.1, 0.9], "count": 5}) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert values({"log": [1e9, 64e9], "count": 7}) == [10**9 * 2**n for n in range(7)]
    assert values({"powers_of_two": [8, 128]}) == [8, 16, 32, 64, 128]
    assert values({"linear": [1, 4], "count": 9}) == [1, 2, 3, 4], "whole ends: whole values, without repeats"
    assert values({"linear": [0.1, 0.3], "step": 0.1}) == pytest.approx([0.1, 0.2, 0.3]), "rounding loses no end"
    assert values([True, "ws", None]) == [True, "ws", None]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must have at least one value, got an empty list"),
        ([1, 2, 1], "has 1 twice"),
        ("16", r"must be a list or a range such as \{linear: \[1, 9\], step: 2\}, got '16'"),
        ({"linaer": [1, 2]}, "unknown range 'linaer'; did you mean linear"),
        ({"linear": [1, 2], "stepp": 1}, "unknown key of a range 'stepp'; did you mean step"),
        ({"linear": [1]}, r"must be two numbers, \[first, last\], got \[1\]"),
        ({"linear": ["a", 2]}, "an end of a range must be a number, got 'a'"),
        ({"linear": [2, 1], "step": 1}, r"the first end of a range must be at most the last, got \[2, 1\]"),
        ({"linear": [1, 2], "step": 0}, "step must be above 0, got 0"),
        ({"linear": [1, 2], "step": 1, "count": 2}, "a step or a count, not both"),
        ({"linear": [0, 1], "step": 1e-9}, "must have at most 100,000 values, got 1,000,000,00"),
        ({"linear": [1, 2], "count": 2.5}, "count must be an integer from 1 to 100,000, got 2.5"),
        ({"linear": [1, 2], "count": 1}, "a count of 1 needs both ends to be the same"),
        ({"log": [0, 2], "count": 2}, "both ends of a log range must be above 0, got 0"),
        ({"log": [1, 2], "step": 1}, "a log range has a count, not a step"),
        ({"powers_of_two": [8, 100]}, "both ends must be powers of two, got 100"),
        ({"powers_of_two": [8, 16], "count": 2}, "powers_of_two takes neither step nor count"),
    ],
)
def test_bad_axes(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"here: .*{message}"):
        read_axis("k", data, "here")


@given(low=st.integers(1, 50), width=st.integers(1, 60), log=st.booleans())
@settings(deadline=None, derandomize=True, max_examples=40)
def test_every_integer_of_an_open_range_can_be_drawn_and_no_other(low: int, width: int, log: bool) -> None:
    axis = read_axis("k", {"log" if log else "linear": [low, low + width]}, "here")
    drawn = {axis.at(n / 5_000) for n in range(5_000)}
    assert drawn == set(range(low, low + width + 1))


@given(low=st.floats(0.01, 10), factor=st.floats(1.5, 1000), fraction=st.floats(0, 0.999), log=st.booleans())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_open_ranges_stay_inside(low: float, factor: float, fraction: float, log: bool) -> None:
    axis = read_axis("k", {"log" if log else "linear": [low, low * factor]}, "here")
    assert low * (1 - 1e-11) <= axis.at(fraction) <= low * factor * (1 + 1e-11)

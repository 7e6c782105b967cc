"""`accelsim list KIND NAME`."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest

from accelsim.cli import main
from accelsim.cli.details import type_text
from accelsim.compress.base import STEPS
from accelsim.compress.recipe import find_recipe, list_recipes
from accelsim.workload.encodings.base import ENCODINGS


def test_every_step_recipe_and_encoding_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    for name, step in STEPS.items():
        assert main(["list", "steps", name]) == 0
        told = capsys.readouterr().out
        for key in step.Params.model_fields:
            assert f"\n  {key} " in told, (name, key)
        assert "typing." not in told and "accelsim." not in told, told
    for name, encoding in ENCODINGS.items():
        assert main(["list", "encodings", name]) == 0
        told = capsys.readouterr().out
        assert all(f"\n  {key} " in told for key in encoding.Params.model_fields)
    for name in list_recipes():
        assert main(["list", "recipes", name]) == 0
        assert capsys.readouterr().out.strip() == find_recipe(name).read_text(encoding="utf-8").strip()


def test_defaults_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "steps", "kmeans"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert ["bits", "4", "integer, or by layer"] in lines and ["exact", "false", "true or false"] in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["steps", "prunes"], "unknown compression step 'prunes'; did you mean prune"),
        (["recipes", "twm"], "unknown recipe 'twm'; did you mean twn"),
        (["encodings", "bitmask"], "unknown encoding 'bitmask'; did you mean bitmap"),
        (["archs", "tpu_v1"], "NAME is for recipes, steps, encodings; try: accelsim show tpu_v1"),
    ],
)
def test_unknown_names(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_types_in_words() -> None:
    assert type_text(int | dict[str, int] | None) == "integer, or by layer"
    assert type_text(Annotated[float, "any"]) == "number"
    assert type_text(Literal["a", "b", "c"]) == "a, b or c"
    assert type_text(list[str] | str) == "list of text or text"
    assert type_text(dict[str, float]) == "number by name"

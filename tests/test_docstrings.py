"""Docstrings that tools can read: every public name has sections and an example that runs."""

import ast
import doctest
import inspect
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import histoscout
from histoscout.recipe import Recipe, description_of

SOURCE = Path(histoscout.__file__).parent
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")
SECTION = re.compile(rf"^ *({'|'.join(SECTIONS)}):\n", re.MULTILINE)
# trainings in examples take more than a moment
SLOW_EXAMPLES = {"crossval", "demo", "evaluate", "pretrain", "train"}


def sections(docstring: str) -> dict[str, str]:
    """The text of each Google section of a docstring."""
    parts = SECTION.split(inspect.cleandoc(docstring) + "\n")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section: str) -> set[str]:
    """The names that a section explains: its lines of the least indentation, up to the colon."""
    return {
        name.strip("*") for name in re.findall(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?:", section, re.MULTILINE)
    }


def parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "cls"}


@pytest.mark.parametrize("name", histoscout.__all__)
def test_a_public_name_has_parseable_sections(name: str) -> None:
    item = getattr(histoscout, name)
    found = sections(item.__doc__ or "")
    if inspect.isfunction(item):
        assert entries(found.get("Args", "")) == parameters(item)
        assert inspect.signature(item).return_annotation in (None, "None") or found.get("Returns", "").strip()
    elif is_dataclass(item):
        public = {field.name for field in fields(item) if not field.name.startswith("_")}
        assert entries(found.get("Attributes", "")) == public
    elif issubclass(item, BaseModel):
        assert entries(found.get("Attributes", "")) == set(item.model_fields)
    assert "Example" in found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_EXAMPLES else ())
        for name in histoscout.__all__
    ],
)
def test_the_example_of_a_public_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    item = getattr(histoscout, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(item, name, globs={})
    assert any(not step.options.get(doctest.SKIP) for step in example.examples)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.DocTestRunner(optionflags=flags).run(example)
    assert result.failed == 0


def test_public_functions_explain_their_arguments() -> None:
    """Functions with arguments that other modules call: the names in Args are those of the signature."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] == "cli":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = node.args
            names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            names += [one.arg for one in (arguments.vararg, arguments.kwarg) if one]
            explained = entries(sections(ast.get_docstring(node) or "").get("Args", ""))
            if explained != set(names):
                wrong.append(f"{path.relative_to(SOURCE)}:{node.name} {sorted(explained ^ set(names))}")
    assert not wrong


def public(path: Path, node: ast.AST) -> bool:
    """Whether a definition is in the public API."""
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return histoscout._PUBLIC.get(getattr(node, "name", "")) == module


def test_first_lines_are_short() -> None:
    """90 characters in the public API, a line of the source elsewhere."""
    long = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                if len(first) > (90 if public(path, node) else 120):
                    long.append(f"{path.relative_to(SOURCE)}: {first}")
    assert not long


def test_every_recipe_key_has_a_description() -> None:
    keys = ["seed"]
    for section, field in Recipe.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            keys += [f"{section}.{key}" for key in field.annotation.model_fields]
    assert len(keys) > 50
    assert not [key for key in keys if not description_of(key).endswith(".")]

"""The rules of the house, held by reading the source: floors, torch-free rooms, quick start."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import histoscout

SOURCE = Path(histoscout.__file__).parent
FLOORS = (
    {"errors"},
    {"cores", "files", "names", "progress", "verdict"},
    {"geometry", "recipe", "tiff"},
    {"slides", "annotations", "network"},
    {"cohort"},
    {"detection", "conversion"},
    {"evaluation", "phantom", "windows"},
    {"check"},
    {"training"},
    {"report"},
    {"demonstration", "machine", "pretraining", "study"},
    {"cli"},
)
FREE_OF_TORCH = (
    "slides",
    "annotations",
    "cohort",
    "detection",
    "evaluation",
    "phantom",
    "windows",
    "check",
    "report",
    "geometry",
    "cli",
    "conversion",
)
MODULES = sorted(SOURCE.rglob("*.py"))


def room(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if name in rooms)


def imports(module: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield (
                node,
                f"{node.module}.{node.names[0].name}" if node.module == "histoscout" else str(node.module),
            )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_the_floors(module: Path) -> None:
    if module == SOURCE / "__init__.py":
        return
    here = room(module)
    for _, name in imports(module):
        if not name.startswith("histoscout."):
            continue
        there = name.split(".")[1]
        lower = floor(there) < floor(here)
        assert lower or there == here, f"{module}: {here} may not import {there}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_broad_except_and_no_forbidden_names(module: Path) -> None:
    broad = [
        node.lineno
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        )
    ]
    allowed = 1 if module.relative_to(SOURCE) == Path("detection/detect.py") else 0
    assert len(broad) <= allowed, f"{module}: broad except in lines {broad}"
    assert module.stem not in {"utils", "common", "helpers", "core", "base", "manager"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_torch_stays_in_its_rooms(module: Path) -> None:
    if room(module) in FREE_OF_TORCH:
        assert not [name for _, name in imports(module) if name.split(".")[0] in {"torch", "timm"}]


def modules_loaded_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import histoscout",
        "import histoscout.cli.main",
        "from histoscout import open_slide, read_annotations, read_cohort, info, read_model, open_engine",
        "from histoscout import detect, evaluate, read_heatmap, Recipe",
    ],
)
def test_these_start_without_torch(statement: str) -> None:
    loaded = modules_loaded_by(statement)
    assert not loaded & {"torch", "pandas", "matplotlib", "openvino"}


def test_the_public_list_is_sorted_whole_and_real() -> None:
    assert histoscout.__all__ == sorted(histoscout._PUBLIC)
    for name in histoscout.__all__:
        assert getattr(histoscout, name).__name__ == name

"""The rules of the house, held by reading the source: import levels, torch-free packages, quick start."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import histoscout

SOURCE = Path(histoscout.__file__).parent
LEVELS = (
    {"errors", "registry", "verdict", "progress", "hardware", "geometry"},
    {"io", "recipe_sections"},
    {"recipe", "slides"},
    {"annotations", "network", "tissue"},
    {"cohort"},
    {"conversion", "detection", "synthetic"},
    {"evaluation", "review", "sampling"},
    {"checks", "viewer"},
    {"training"},
    {"report"},
    {"demonstration", "machine", "study"},
    {"cli"},
)
TORCH_FREE = {
    "annotations",
    "checks",
    "cli",
    "cohort",
    "conversion",
    "detection",
    "evaluation",
    "geometry",
    "io",
    "report",
    "review",
    "sampling",
    "slides",
    "synthetic",
    "tissue",
    "viewer",
}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "core", "base", "manager"}
MODULES = sorted(SOURCE.rglob("*.py"))


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def package(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    return next(height for height, names in enumerate(LEVELS) if name in names)


def imports(module: Path) -> Iterator[str]:
    """The full names of what a module imports, wherever in the file."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_down() -> None:
    wrong = []
    for module in MODULES:
        if module == SOURCE / "__init__.py":
            continue
        here = package(module)
        for name in imports(module):
            if name.startswith("histoscout."):
                there = name.split(".")[1]
                if there != here and level(there) >= level(here):
                    wrong.append(f"{module.relative_to(SOURCE)} imports {there}")
    assert not wrong


def test_no_module_cycle() -> None:
    names = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in MODULES}
    uses = {
        name: {
            target
            for full in imports(path)
            for target in (
                full.removeprefix("histoscout."),
                full.removeprefix("histoscout.").rpartition(".")[0],
            )
            if target in names and target != name
        }
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"cycle: {' -> '.join([*above, name])}"
        if name not in done:
            for target in uses[name]:
                visit(target, (*above, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_torch_stays_in_its_packages() -> None:
    wrong = [
        f"{module.relative_to(SOURCE)} imports {name}"
        for module in MODULES
        if package(module) in TORCH_FREE
        for name in imports(module)
        if name.split(".")[0] in {"torch", "timm"}
    ]
    assert not wrong


def test_no_broad_except_and_no_forbidden_names() -> None:
    broad = [
        str(module.relative_to(SOURCE))
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        )
    ]
    assert broad in ([], [str(Path("detection", "detect.py"))]), "one slide of a batch is the only reason"
    assert not {module.stem for module in MODULES} & FORBIDDEN_NAMES


def test_files_and_names_of_others_are_handled_in_one_place() -> None:
    """`Path.resolve` fails on links in a circle, `read_bytes` waits for pipes, `typer.echo` lets names steer."""
    allowed = {("typer.echo", "options.py"), ("read_bytes", "app.py")}
    wrong = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and node.attr in {"resolve", "read_bytes", "echo"}:
                name = "typer.echo" if node.attr == "echo" else node.attr
                if (name, module.name) not in allowed:
                    wrong.append(f"{module.relative_to(SOURCE)}, line {node.lineno}: {name}")
    assert not wrong


def test_public_class_names_mean_one_thing() -> None:
    places = defaultdict(list)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(module.relative_to(SOURCE)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


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


@pytest.mark.parametrize("old", sorted(histoscout._RENAMED))
def test_old_public_names_work_with_a_warning(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=histoscout._RENAMED[old]):
        assert getattr(histoscout, old) is getattr(histoscout, histoscout._RENAMED[old])


def test_the_version_is_stated_once_and_the_package_is_typed() -> None:
    citation = SOURCE.parents[1] / "CITATION.cff"
    assert f"version: {histoscout.__version__}\n" in citation.read_text(encoding="utf-8")
    assert (SOURCE / "py.typed").is_file()


def test_no_module_hides_a_public_name() -> None:
    """Importing `histoscout.x` sets `histoscout.x` to the module, whatever it was."""
    top = {module.stem for module in SOURCE.glob("*.py")} | {
        path.name for path in SOURCE.iterdir() if path.is_dir()
    }
    assert not top & set(histoscout.__all__)

"""Figures of the source: sizes of modules, files behind a command, docstrings, comments.

    python benchmarks/house.py            # prints the table of docs/house.md

A module is a non-empty .py file that is no package's __init__. "Files behind" a module is its import closure within the
package, the module included. Comments are full-line comments, counted in functions of more than 20 lines.
"""

import ast
import io
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

import histoscout

SOURCE = Path(histoscout.__file__).parent
ENTRIES = {
    "train": "training.train",
    "evaluate": "evaluation.evaluate",
    "detect": "detection.detect",
    "crossval": "training.crossval",
}
LONG_FUNCTION = 20


def modules() -> dict[str, Path]:
    paths = (path for path in SOURCE.rglob("*.py") if path.read_text(encoding="utf-8").strip())
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in sorted(paths)}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("histoscout"):
            base = str(node.module).removeprefix("histoscout").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                names |= {name for name in (full, base) if name in known}
    return names


def closure(entry: str, edges: dict[str, set[str]]) -> set[str]:
    reached, waiting = {entry}, [entry]
    while waiting:
        new = edges[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def cycles(edges: dict[str, set[str]]) -> int:
    return sum(name in closure(target, edges) for name, targets in edges.items() for target in targets)


def long_functions(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """First and last line of each outermost function of more than 20 lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > LONG_FUNCTION:
            yield node.lineno, node.end_lineno or 0


def comments_and_lines(path: Path) -> tuple[int, int]:
    """Full-line comments and lines, both within long functions; docstrings do not count as lines."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = {number for first, last in long_functions(tree) for number in range(first, last + 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    source = text.splitlines()
    comments = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and source[token.start[0] - 1].lstrip().startswith("#")
    }
    return len(comments & lines), len(lines)


def used_once(paths: list[Path]) -> int:
    """Private module-level functions that are named once beside their definition."""
    count = 0
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        private = [
            node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] == "_"
        ]
        uses = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        count += sum(uses.count(name) == 1 for name in private)
    return count


def main() -> None:
    known = modules()
    edges = {name: imported(path, known) - {name} for name, path in known.items()}
    plain = {name: path for name, path in known.items() if path.name != "__init__.py"}
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in plain.items()}
    counted = [comments_and_lines(path) for path in plain.values()]
    comments, lines = (sum(column) for column in zip(*counted, strict=True))
    public = [getattr(histoscout, name) for name in histoscout.__all__]
    documented = sum("Example" in (item.__doc__ or "") and ">>>" in (item.__doc__ or "") for item in public)
    rows = {
        "modules": (len(plain), "at most 190"),
        "lines of a module, median": (statistics.median(sizes.values()), "150 to 200"),
        "lines of the longest module": (max(sizes.values()), "at most 420"),
        "modules under 100 lines": (sum(size < 100 for size in sizes.values()), "at most 45"),
        **{
            f"files behind `{verb}`": (len(closure(entry, edges)), limit)
            for (verb, entry), limit in zip(
                ENTRIES.items(), ("at most 100", "at most 65", "at most 42", "at most 112"), strict=True
            )
        },
        "imports in a cycle": (cycles(edges), "0"),
        "public names with an example": (f"{documented} of {len(public)}", "all"),
        "comment lines per 1,000 in functions of more than 20 lines": (
            round(1000 * comments / lines),
            "at least 25",
        ),
        "private functions used once": (used_once(list(plain.values())), "(587 before)"),
        "lines in all": (sum(sizes.values()), ""),
    }
    print("| figure | value | aim |\n|---|---|---|")
    for name, (value, aim) in rows.items():
        print(f"| {name} | {value} | {aim} |")


if __name__ == "__main__":
    main()

"""Importing the package is cheap, and its modules import each other in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import guidealign_engine

PACKAGE = Path(guidealign_engine.__file__).parent
HEAVY = ("torch", "transformers", "sentence_transformers", "onnxruntime", "faiss")

# Each row imports from the rows above it only. Modules that are not named here (the command line) come last: they may
# import all of these, and none of these imports them.
ORDER = [
    ["errors", "half_pairs", "timing", "batches"],
    ["config", "chat", "json_lines", "markers", "optional_packages", "gpu.buckets", "gpu.driver", "gpu.guard"],
    ["gpu.libraries", "gpu.graphs", "devices"],
    ["bundle", "pairs", "query", "target", "wordpiece"],
    ["token_extras", "windows"],
    ["library", "tokenizer", "encoder", "encoder_files", "index", "gpu.sessions"],
    ["gpu.encoder", "gpu.memory"],
    ["rerank", "select", "blocks", "prompt", "results", "guideline_files", "held_out_pairs", "index_kinds"],
    ["index_queries", "index_tuning", "gpu.index", "gpu.rerank"],
    ["gpu.stages", "waiting_calls"],
    ["engine", "building", "gpu.loading"],
    ["batching", "loading", "calibration", "reindexed_bundle"],
    ["calibration_report"],
    ["calibrated_bundle"],
]
ROW = {module: row for row, modules in enumerate(ORDER) for module in modules}


def online_modules() -> list[Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [file for file in files if "offline" not in file.relative_to(PACKAGE).parts]


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def imports_of(tree: ast.AST, *, inside_functions: bool) -> Iterator[str]:
    """Dotted names that are imported; names from a package count as its modules."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue  # for type checkers only, and never run
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports_of(node, inside_functions=inside_functions)


def parsed(file: Path) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"))


def own_imports(file: Path, *, inside_functions: bool) -> set[str]:
    """Modules of the package: `config` for `from guidealign_engine.config import Kind`, and `gpu.index` likewise."""
    parts = [name.split(".") for name in imports_of(parsed(file), inside_functions=inside_functions)]
    return {".".join(name[1:3] if name[1] == "gpu" else name[1:2]) for name in parts if name[0] == "guidealign_engine"}


def test_importing_the_package_imports_nothing_heavy(run_python: Any) -> None:
    code = "import sys, guidealign_engine; print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    done = run_python(code, *HEAVY, "onnx", "asyncio", "typer", "rich", "guidealign_engine.offline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_retrieving_imports_neither_torch_nor_the_offline_half(run_python: Any, toy_bundle: Path) -> None:
    code = """
import sys
from guidealign_engine import load_engine
assert load_engine(sys.argv[1]).retrieve_batch(["how do I pick a lock"])[0].positions == [0]
print(sorted(set(sys.modules) & set(sys.argv[2:])))
"""
    done = run_python(code, toy_bundle, "torch", "transformers", "onnx", "guidealign_engine.offline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("file", online_modules(), ids=name_of)
def test_the_online_half_imports_nothing_heavy_when_it_is_imported(file: Path) -> None:
    imported = {name.split(".")[0] for name in imports_of(parsed(file), inside_functions=False)}
    assert not imported & set(HEAVY)
    assert "offline" not in own_imports(file, inside_functions=False)


@pytest.mark.parametrize("module", sorted(ROW))
def test_modules_import_only_from_those_before_them(module: str) -> None:
    imported = own_imports(PACKAGE / f"{module.replace('.', '/')}.py", inside_functions=True) - {"_native"}
    unknown = imported - set(ROW)
    assert not unknown, f"{module} imports {unknown}: put it in ORDER, before {module}"
    assert {name for name in imported if ROW[name] >= ROW[module]} == set()


def test_nobody_inside_imports_the_root() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        names = set(imports_of(parsed(file), inside_functions=True))
        assert "guidealign_engine" not in names, file
        exported = {f"guidealign_engine.{name}" for name in guidealign_engine.__all__}
        assert not names & exported, file


def test_all_that_is_exported_is_there() -> None:
    assert len(set(guidealign_engine.__all__)) == len(guidealign_engine.__all__)
    assert [name for name in guidealign_engine.__all__ if not hasattr(guidealign_engine, name)] == []
    assert guidealign_engine.__version__.split(".")[0].isdigit()

"""Imports go one way, as DESIGN.md says; the textbook and the data know nothing of the engine."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad_fnn

PACKAGE = Path(tinygrad_fnn.__file__).parent
NAME = "tinygrad_fnn"

# A module may import what stands in a line above its own, and its own package.
LAYERS: list[set[str]] = [
    {"errors", "files", "html", "modes", "randomness"},
    {"rules"},
    {"tensor"},
    {"backward", "gate"},
    {"forward"},
    {"func", "ops"},
    {"checkpointing", "replay"},
    {"nn", "optim", "stats", "metrics", "check.numerical", "check.point", "check.stencil", "serialize"},
    {"check", "custom", "explain", "testing", "training", "plot", "curves"},
    {"bench"},
    {"cli"},
    {"__init__", "__main__"},
]
APART = {"check.textbook", "check._problem", "data"}  # NumPy, SciPy, the errors, and each other
ENTRANCE = {"check.__init__"}  # puts the names of its package in one place, and is held to nothing else

# Imports inside functions, which may go against the layers, each with its reason.
INSIDE = {
    ("rules", "gate"): "the gate needs the table, so the table meets the gate at the first call",
    ("rules", "ops.missing"): "as for tensor, below",
    ("rules", "ops.special"): "SciPy's functions are entered when SciPy is first met",
    ("rules", "ops.fourier"): "and those of numpy.fft when that is first met",
    ("cli.info", "__init__"): "the package's version is among what is asked for",
    ("serialize.saving", "__init__"): "the package's version, which stands in the entrance, is written into each file",
    ("tensor", "ops.missing"): "what to use instead is looked up once something is missing",
    ("tensor", "backward"): "t.backward() is a method, and the walk stands on the tensor",
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if "explain" not in path.parts or path.suffix == ".py"
    }


def imports(module: str, path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports of this package, with its dots resolved, and whether inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    types = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING"
        for inner in ast.walk(outer)
    }
    known = modules()
    parts = module.split(".")
    for node in ast.walk(tree):
        if id(node) in types:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] == NAME]
            targets = [name.removeprefix(NAME).lstrip(".") or "__init__" for name in found]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = parts[: len(parts) - node.level]
            elif (node.module or "").split(".")[0] == NAME:
                base = []
            else:
                continue
            stem = (node.module or "").removeprefix(NAME).lstrip(".") if not node.level else (node.module or "")
            base = [*base, *(stem.split(".") if stem else [])]
            targets = []
            for alias in node.names:  # `from . import a` may name a module, a package or a value
                names = [".".join([*base, alias.name]), ".".join([*base, alias.name, "__init__"]), ".".join(base)]
                whole = ".".join([*base, "__init__"])
                targets.append(next((n for n in names if n in known), whole))
        else:
            continue
        for target in targets:
            yield target, id(node) in inside


def place(module: str) -> tuple[int, str]:
    """The layer of a module, and the line of the table that says so."""
    parts = module.removesuffix(".__init__").split(".")
    for name in (".".join(parts[:2]), parts[0]):
        for level, group in enumerate(LAYERS):
            if name in group:
                return level, name
    pytest.fail(f"{module} has no place in LAYERS")


def apart(module: str) -> bool:
    parts = module.split(".")
    return bool({".".join(parts[:2]), parts[0]} & APART)


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    if apart(module) or module in ENTRANCE:
        return
    level, group = place(module)
    for target, inside in imports(module, modules()[module]):
        if apart(target) or (inside and (module, target.removesuffix(".__init__")) in INSIDE):
            continue
        below, other = place(target)
        assert below < level or other == group or other.split(".")[0] == group.split(".")[0] == "check", (
            f"{module} imports {target}, which stands above or beside it"
        )


@pytest.mark.parametrize("module", [m for m in modules() if apart(m)])
def test_textbook_and_data_stand_apart(module: str) -> None:
    for target, _ in imports(module, modules()[module]):
        allowed = {"errors", "files", "randomness"}
        assert target in allowed or (apart(target) and target.split(".")[0] == module.split(".")[0]), (
            f"{module} imports {target}: it may use {', '.join(sorted(allowed))} only"
        )
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            assert top in {"numpy", "scipy", NAME} or top in sys.stdlib_module_names, f"{module} imports {name}"


def test_every_exception_is_used() -> None:
    found = {
        (module, target.removesuffix(".__init__"))
        for module, path in modules().items()
        for target, inside in imports(module, path)
        if inside
    }
    assert set(INSIDE) <= found


def test_reader_of_imports_sees_every_form(tmp_path: Path) -> None:
    """The reader itself: without it the other tests could not fail."""
    path = tmp_path / "m.py"
    path.write_text(
        "import tinygrad_fnn.tensor\nfrom tinygrad_fnn import backward\nfrom . import rules\nfrom .nn import Module\n"
        "from ..tinygrad_fnn import x\ndef f():\n    from .func import grad\n"
    )
    assert list(imports("m", path))[:4] == [
        ("tensor", False),
        ("backward", False),
        ("rules", False),
        ("nn.__init__", False),
    ]
    assert list(imports("m", path))[-1] == ("func", True)
    assert list(imports("nn.layers", path))[2] == ("nn.__init__", False)


@pytest.mark.parametrize(
    ("module", "absent"),
    [("tinygrad_fnn", ["matplotlib", "tqdm", "hypothesis", "scipy.special", "scipy.optimize", "scipy.io"])],
)
def test_import_of_the_package_brings_nothing_heavy(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"

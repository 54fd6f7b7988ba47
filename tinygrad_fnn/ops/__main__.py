"""The page of operations, printed from the table: `python -m tinygrad_fnn.ops > docs/ops.md`.

With `--summary` one line for each family of operations. The formulas are the text of the rules themselves.
"""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..rules import ORDER, RULES, Rule, Term, load_scipy_rules

__all__ = ["page", "summary"]

PACKAGE: Final = Path(__file__).parent
ENTRIES: Final = {"elementwise", "primitive", "reduction", "composite", "constant"}
HOMES: Final = ("tinygrad_fnn", "tinygrad_fnn.nn.functional")  # by name, as they are built on the operations
HEAD: Final = """# Operations

Generated from the table of rules by `python -m tinygrad_fnn.ops > docs/ops.md`; edit the entry of the operation, not this page.
Call them by NumPy's and SciPy's own names on Tensors; `tinygrad_fnn.` marks what those libraries lack.
A *helper* is what the derivatives of others are made of; it has rules of its own, so that further derivatives follow, and no public name.

In a derivative, `out` is the result, `x`, `y`, ... or the names of the parameters are the arguments, and a name with an underscore before it gives shape and dtype only.
A formula with `ct` is the share of the cotangent `ct`; any other is the partial derivative, by which the cotangent is multiplied.
*Keeps* are the arrays held from the call until backward; *points* are where a convention, or a value hard to compute, is tested exactly.
Every derivative is made of differentiable operations, so that all orders follow; composed functions are made of the others and need no rule.
Conventions at kinks and ties are in [edges.md](edges.md).
"""  # noqa: E501  # one sentence per line


# --- reading the entries ----------------------------------------------------------------------------------------------


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def _formula(source: Any) -> str:
    """A derivative as text: the body of a lambda, what a function returns, or a number."""
    if not callable(source):
        return f"{source:g}" if isinstance(source, float) else str(source)
    code = source.__code__
    first, last = code.co_firstlineno, max(line for _, _, line in code.co_lines() if line)
    columns = [p for p in code.co_positions() if p[0] is not None and p[2] is not None and p[3]]
    for node in ast.walk(_tree(source.__module__)):
        if source.__name__ == "<lambda>":
            if isinstance(node, ast.Lambda) and node.lineno == first and (node.end_lineno or 0) >= last:
                starts = min((p[2] or 0 for p in columns if p[0] == node.body.lineno), default=0)
                if [a.arg for a in node.args.args] == [*inspect.signature(source).parameters] and (
                    node.body.lineno > first or node.col_offset <= starts
                ):
                    within = [p for p in columns if p[0] == node.end_lineno]
                    if all((p[3] or 0) <= (node.end_col_offset or 0) for p in within):
                        return _tidy(ast.unparse(node.body))
        elif isinstance(node, ast.FunctionDef) and node.name == source.__name__ and node.lineno == first:
            said = ast.get_docstring(node)
            returned = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
            if len(returned) == 1 and len(node.body) == 1 + bool(said):
                return _tidy(ast.unparse(returned[0]))
            return f"{source.__name__.lstrip('_')}({', '.join(inspect.signature(source).parameters)})"
    return str(source.__name__).lstrip("_")


def _tidy(formula: str) -> str:
    return formula.replace("|", r"\|")


@functools.cache
def _entered() -> dict[Any, str]:
    """The file that each function is entered in, as far as its text names the function."""
    found: dict[Any, str] = {}
    others: dict[Any, str] = {}  # a loop over functions, or a helper's call, is the place of what has no other
    for path in sorted(PACKAGE.glob("*.py")):
        module = sys.modules.get(f"tinygrad_fnn.ops.{path.stem}")
        for node in ast.walk(_tree(module.__name__)) if module is not None else ():
            entry = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ENTRIES
            given = node.args if isinstance(node, ast.Call) else []
            if isinstance(node, ast.For):
                given = [inner for inner in ast.walk(node.iter) if isinstance(inner, ast.expr)]
            for argument in given:
                value = _resolved(argument, module)
                if getattr(value, "__hash__", None) is not None and value in RULES:
                    (found if entry else others).setdefault(value, path.stem)
    return others | found


def _resolved(node: ast.AST, module: Any) -> Any:
    """What a name with dots stands for in a module; None for anything else."""
    if isinstance(node, ast.Name):
        return getattr(module, node.id, None)
    return getattr(_resolved(node.value, module), node.attr, None) if isinstance(node, ast.Attribute) else None


def family(rule: Rule) -> str:
    """The file of an entry."""
    if rule.fun in _entered():
        return _entered()[rule.fun]
    for thing in (rule.call, *(term.source for term in rule.terms if term is not None), rule.fun):
        module = getattr(thing, "__module__", None) or ""
        if module.startswith("tinygrad_fnn.") and not module.endswith((".rules", ".tensor")):
            return str(module.removeprefix("tinygrad_fnn.").removeprefix("ops."))
    return "others"


def _families() -> dict[str, list[Rule]]:
    load_scipy_rules()
    groups: dict[str, list[Rule]] = {}
    for rule in RULES.values():
        groups.setdefault(family(rule), []).append(rule)
    return dict(sorted(groups.items()))


# --- the page ---------------------------------------------------------------------------------------------------------


def _named(rule: Rule, position: int) -> str:
    if position == -1:
        return "out"
    own = [] if isinstance(rule.fun, np.ufunc) else [*inspect.signature(rule.fun).parameters]
    return own[position] if position < len(own) and not rule.variadic else ORDER[position]


def _terms(rule: Rule) -> str:
    shown = []
    for k, term in enumerate(rule.terms):
        if len(rule.terms) == 1 and not rule.variadic:
            shown.append("none" if term is None else f"`{_formula(term.source)}`")
        else:
            each = "each" if rule.variadic else _named(rule, k)
            shown.append(f"{each}: " + ("none" if term is None else f"`{_formula(term.source)}`"))
    return "<br>".join(shown)


def _kept(rule: Rule) -> str:
    positions = sorted({k for term in rule.terms if term is not None for k in term.keeps})
    return ", ".join(_named(rule, k) for k in positions) or "nothing"


def _number(value: Any) -> str:
    if isinstance(value, float | int):
        return f"{value:.4g}"
    return repr(np.asarray(value).tolist())


def _points(rule: Rule) -> str:
    return "<br>".join(
        f"({', '.join(map(_number, point))}): {', '.join('none' if s is None else _number(s) for s in slopes)}"
        for point, slopes in rule.at.items()
    )


def _remarks(rule: Rule) -> str:
    said = []
    if rule.linear:
        said.append("linear in all arguments together" if rule.linear == "jointly" else "linear")
    if rule.selects:
        said.append("selects")
    if rule.root:
        said.append("a root at its minimum")
    if rule.terms and all(term is None or term.source == 0 for term in rule.terms):
        said.append("derivative 0")
    return ", ".join(said)


def _title(rule: Rule) -> str:
    """How the function is called, or the functions that share the entry."""
    return ", ".join(map(_called, rule.name.split(", ")))


def _called(entry: str) -> str:
    package, _, name = entry.rpartition(".")
    plain, space, remark = name.partition(" ")  # `cross_entropy (labels)`
    homes = [home for home in HOMES if hasattr(import_module(home), plain)] if package in ("", HOMES[0]) else [package]
    if homes:
        return f"`{homes[0]}.{plain}`{space}{remark}"
    return f"*helper* `{name}`" if package else name  # what is written with brackets has no name


def _rows(rules: list[Rule]) -> Iterator[str]:
    ruled = [rule for rule in rules if rule.terms]
    if ruled:
        yield "| function | derivative | keeps | remarks | points |"
        yield "| --- | --- | --- | --- | --- |"
        for rule in ruled:
            yield f"| {_title(rule)} | {_terms(rule)} | {_kept(rule)} | {_remarks(rule)} | {_points(rule)} |"
        yield ""
    for kind, what in (("composite", "Composed, to any order"), ("constant", "Without a derivative, on purpose")):
        names = sorted({_title(rule) for rule in rules if rule.kind == kind}, key=lambda title: title.strip("`"))
        if names:
            yield f"{what}: {', '.join(names)}."
            yield ""


def page() -> str:
    """The page as Markdown."""
    lines = [HEAD]
    for name, rules in _families().items():
        module = sys.modules.get(f"tinygrad_fnn.ops.{name}") or sys.modules.get(f"tinygrad_fnn.{name}")
        lines += [f"## {name}", "", (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " "), ""]
        lines += _rows(rules)
    return "\n".join(lines).rstrip() + "\n"


# --- the summary ------------------------------------------------------------------------------------------------------


def _is_public(rule: Rule) -> bool:
    module = getattr(rule.fun, "__module__", None) or ""
    operators = (operator.getitem, operator.setitem, np.ndarray.astype)
    return isinstance(rule.fun, np.ufunc) or module.startswith("numpy") or rule.fun in operators


def _is_direct(rule: Rule, term: Term) -> bool:
    return bool(term.partial is not None or rule.linear or rule.push)


def summary() -> str:
    """One line for each family: operations, those called by dispatch, keywords tried, and how derivatives are made."""
    columns = ["family", "operations", "dispatched", "keywords", "any order", "zero", "constant"]
    columns += ["forward directly", "by pullback"]
    rows: list[list[Any]] = []
    for name, rules in _families().items():
        found = {kind: {r.name for r in rules if r.kind == kind} for kind in ENTRIES}
        constants = found["constant"]
        operations = {r.name for r in rules} - constants
        dispatched = {r.name for r in rules if _is_public(r)} - constants
        faces = [r for r in rules if _is_public(r) or r.kind == "composite"]
        keywords = {(r.name, key) for r in faces for s in r.samples for key in s.params}
        zero = {r.name for r in rules if r.terms and all(t is None or t.source == 0 for t in r.terms)}
        slow = {r.name for r in rules for t in r.terms if t is not None and not _is_direct(r, t)}
        counts = (operations, dispatched, keywords, operations - zero, zero, constants, operations - slow, slow)
        rows.append([name, *(len(count) for count in counts)])
    rows.append(["all", *(sum(row[k] for row in rows) for k in range(1, len(columns)))])
    widths = [max(len(str(row[k])) for row in [columns, *rows]) for k in range(len(columns))]
    cells = [[str(cell).rjust(w) for cell, w in zip(row, widths, strict=True)] for row in [columns, *rows]]
    return "\n".join("  ".join([row[0].strip().ljust(widths[0]), *row[1:]]) for row in cells)


if __name__ == "__main__":
    print(summary() + "\n" if "--summary" in sys.argv[1:] else page(), end="")

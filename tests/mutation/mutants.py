"""What is mutated: cosmic-ray's operators, which of them are used, and which mutants are noise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso  # before cosmic_ray, whose plug-ins cannot import it first
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators import (
    binary_operator_replacement,
    boolean_replacer,
    break_continue,
    comparison_operator_replacement,
    exception_replacer,
    number_replacer,
    remove_decorator,
    unary_operator_replacement,
    zero_iteration_for_loop,
)
from cosmic_ray.operators.operator import Operator
from cosmic_ray.work_item import MutationSpec

Position = tuple[int, int]


class ReplaceAugmented(Operator):
    """``x += y`` to ``x -= y``, and to ``x = y``: what cosmic-ray has no operator for."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        if isinstance(node, parso.python.tree.Operator) and node.value == self.old:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = self.new
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def operators(settings: dict[str, Any]) -> dict[str, Operator]:
    """Every operator in use, by the name it has in a session."""
    chosen: dict[str, Operator] = {}
    for family, module, members in (
        ("binary", binary_operator_replacement, binary_operator_replacement.BinaryOperators),
        (
            "comparison",
            comparison_operator_replacement,
            comparison_operator_replacement.ComparisonOperators,
        ),
        ("unary", unary_operator_replacement, unary_operator_replacement.UnaryOperators),
    ):
        names = {(m.value or "").strip(): m.name for m in members}
        for old, news in settings[family].items():
            for new in news:
                pair = f"{names[old]}_{names[new]}" if new else f"Delete_{names[old]}"
                name = f"Replace{family.capitalize()}Operator_{pair}"
                chosen[name] = getattr(module, name)()
    for old, news in settings["augmented"].items():
        for new in news:
            chosen[f"ReplaceAugmented {old} {new}"] = ReplaceAugmented(old, new)
    for plain in (
        boolean_replacer.AddNot,
        boolean_replacer.ReplaceAndWithOr,
        boolean_replacer.ReplaceFalseWithTrue,
        boolean_replacer.ReplaceOrWithAnd,
        boolean_replacer.ReplaceTrueWithFalse,
        break_continue.ReplaceBreakWithContinue,
        break_continue.ReplaceContinueWithBreak,
        exception_replacer.ExceptionReplacer,
        number_replacer.NumberReplacer,
        remove_decorator.RemoveDecorator,
        zero_iteration_for_loop.ZeroIterationForLoop,
    ):
        chosen[plain.__name__] = plain()
    return chosen


def modules(paths: list[str]) -> Iterator[Path]:
    """The files of the configuration, folders taken apart."""
    for path in map(Path, paths):
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def mutants(path: Path, chosen: dict[str, Operator]) -> Iterator[MutationSpec]:
    """Every mutant of one file, noise included."""
    nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
    for name, operator in chosen.items():
        spans = ((n, *span) for n in nodes for span in operator.mutation_positions(n))
        for occurrence, (node, start, end) in enumerate(spans):
            definition = ASTQuery(node).get_definition_name()
            yield MutationSpec(path, name, occurrence, start, end, definition_name=definition)


def mutated(source: str, spec: MutationSpec, chosen: dict[str, Operator]) -> str:
    """The source with one mutation."""
    code = mutate_code(source, chosen[spec.operator_name], spec.occurrence)
    if code is None:
        raise LookupError(f"{spec.module_path}: the source is not the one of the session")
    # cosmic-ray names an exception that the module does not have; nothing here raises this one
    return code.replace("CosmicRayTestingException", "StopAsyncIteration")


def _first_line(node: Any) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


@dataclass(frozen=True)
class Noise:
    """The spans of a file where a mutant says nothing about the tests, each with the reason."""

    spans: list[tuple[Position, Position, str]]

    @classmethod
    def of(cls, source: str, compiler: list[str]) -> Noise:
        """Find them: annotations, the words of errors, and what does nothing without a compiler:
        the definitions named, and the decorators @device and @routine.
        """
        # ast counts columns in bytes of UTF-8, parso in characters
        lines = source.split("\n")
        spans = []

        def add(node: Any, why: str) -> None:
            start = len(lines[node.lineno - 1].encode()[: node.col_offset].decode())
            end = len(lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode())
            spans.append(((node.lineno, start), (node.end_lineno, end), why))

        tree = ast.parse(source)
        for node in tree.body:
            names = {getattr(node, "name", None)}
            names |= {
                n.id
                for t in getattr(node, "targets", [])
                for n in ast.walk(t)
                if isinstance(n, ast.Name)
            }
            if names & set(compiler):
                spans.append(((_first_line(node), 0), (node.end_lineno, 10**6), "compiler"))
        for node in ast.walk(tree):
            for field in ("annotation", "returns"):
                if getattr(node, field, None) is not None:
                    add(getattr(node, field), "annotation")
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                for part in (*node.exc.args, *node.exc.keywords):
                    add(part, "message")
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Name) and decorator.id in ("device", "routine"):
                        line = decorator.lineno
                        spans.append(((line, 0), (line + 1, 0), "compiler"))
        return cls(spans)

    def reason(self, start: Position, end: Position) -> str | None:
        """Why a mutant of this span is noise, or None."""
        for first, last, why in self.spans:
            if first <= start and end <= last:
                return why
        return None

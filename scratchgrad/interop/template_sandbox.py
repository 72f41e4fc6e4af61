r"""Jinja for templates that come with somebody's weights: bounded in time, in memory, in reach.

A chat template is a program. Jinja's own sandbox keeps it from Python's insides, but not from
``'a' * 10**9``, a loop over a loop, or a list of a list of a list. Here

- only what chat templates use is there: some filters, some methods of str, dict and list, no import
  of other templates, no recursive loop;
- each round of a loop, call, filter and operator is counted, and a clock looked at;
- what an operator would multiply is computed as a size first; every other value is weighed when it
  is made, lists with all that is in them, so that none grows beyond a bound;
- all that is written counts, also into a variable, so that text cannot double and double again.

For this the parsed template is changed before it is compiled: see `_Bounds`.

The language is that of Hugging Face's ``apply_chat_template``: blocks trimmed, ``break`` and
``continue``, ``raise_exception``. ``strftime_now`` is refused: the same conversation would not give
the same ids tomorrow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_TEMPLATE = 1 << 18  # characters; the longest in use has 20,000
MAX_STEPS = 200_000
MAX_SECONDS = 4.0
MAX_WEIGHT = 1 << 22  # of one value: its characters, and as many for each item
_ITEM = 16
MAX_OUTPUT = 1 << 23  # characters that are written, in all
_MAX_RANGE = 10_000
_LARGEST = 1 << 64  # whole numbers stay below

_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float"),
    *("indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min"),
    *("reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr"),
    *("sort", "string", "sum", "title", "tojson", "trim", "unique", "upper"),
)
_METHODS: dict[Any, tuple[str, ...]] = {
    str: (
        *("capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit"),
        *("islower", "isspace", "isupper", "join", "lower", "lstrip", "removeprefix"),
        *("removesuffix", "replace", "rfind", "rindex", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper"),
    ),
    dict: ("get", "items", "keys", "values"),
    list: ("count", "index"),
    tuple: ("count", "index"),
}


class TemplateProblem(jinja2.TemplateError):
    """What a template did that is not allowed, or said itself by ``raise_exception``."""


class _Meter:
    """What one rendering has used."""

    def __init__(self) -> None:
        self.steps = self.written = 0
        self.until = time.monotonic() + MAX_SECONDS

    def step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise TemplateProblem(f"takes more than {MAX_STEPS:,} steps")
        if time.monotonic() > self.until:
            raise TemplateProblem(f"takes more than {MAX_SECONDS:.0f} s")

    def write(self, text: str) -> str:
        self.written += len(text)
        if self.written > MAX_OUTPUT:
            raise TemplateProblem(f"writes more than {MAX_OUTPUT:,} characters")
        return text


def _weight(value: Any, room: int = MAX_WEIGHT) -> int:
    """The size of a value and all in it, each time that it is in it; up to a little beyond room."""
    total, waiting = 0, [value]
    while waiting and total <= room:
        one = waiting.pop()
        total += _ITEM
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, list | tuple | dict):
            if total + _ITEM * len(one) > room:
                return room + 1
            if isinstance(one, dict):
                waiting.extend(one)
                waiting.extend(one.values())
            else:
                waiting.extend(one)
    return total


def _weighed(value: Any) -> Any:
    if isinstance(value, int):
        if not -_LARGEST < value < _LARGEST:
            raise TemplateProblem("makes a whole number of more than 64 bits")
    elif isinstance(value, str | list | tuple | dict) and _weight(value) > MAX_WEIGHT:
        raise TemplateProblem(f"makes a value of more than {MAX_WEIGHT:,} characters")
    return value


def _size(count: int) -> None:
    if count > MAX_WEIGHT:
        raise TemplateProblem(f"makes a value of more than {MAX_WEIGHT:,} characters")


def _text(value: Any) -> str:
    """str() of a value, which for what holds others is about as long as its weight."""
    _weighed(value)
    if not isinstance(value, str | int | float | None | list | tuple | dict | Undefined):
        raise TemplateProblem(f"writes a {type(value).__name__}")
    return str(value)


def _replace(text: Any, old: Any, new: Any, count: Any = None) -> str:
    text, old, new = _text(text), _text(old), _text(new)
    times = text.count(old) if count is None or count < 0 else min(text.count(old), int(count))
    _size(len(text) + times * len(new))
    return text.replace(old, new, times)


def _join(separator: Any, values: Iterable[Any]) -> str:
    between, parts, total = _text(separator), [], 0
    for value in values:
        part = _text(value)
        total += len(part) + len(between)
        _size(total)
        parts.append(part)
    return between.join(parts)


def _join_filter(values: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        raise TemplateProblem("joins an attribute, which is not supported")
    return _join(d, values)


def _indent(text: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    text, margin = _text(text), width
    if not isinstance(width, str):
        if not isinstance(width, int) or not 0 <= width <= 1000:
            raise TemplateProblem("indents by something else than 0 to 1000 characters")
        margin = " " * width
    lines = text.splitlines() or [""]
    _size(len(text) + len(lines) * (len(margin) + 1))
    indented = [margin + line if line or blank else line for line in lines[1:]]
    return "\n".join([(margin if first else "") + lines[0], *indented])


def _to_json(value: Any, indent: Any = None) -> str:
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= 16):
        raise TemplateProblem("indents JSON by something else than 0 to 16 characters")
    return json.dumps(_weighed(value), ensure_ascii=False, indent=indent)


def _range(*arguments: Any) -> range:
    found = range(*arguments)
    if len(found) > _MAX_RANGE:
        raise TemplateProblem(f"counts over {len(found):,} numbers; at most {_MAX_RANGE:,} may be")
    return found


def _raise(message: Any = "") -> Any:
    raise TemplateProblem(f"says: {message}")


def _now(*_: Any) -> Any:
    raise TemplateProblem("asks for the time, which would make each day's ids others")


_Node = nodes.Node


class _Bounds(NodeTransformer):
    """Puts the bounds into a parsed template."""

    def visit_For(self, node: nodes.For) -> _Node:
        if node.recursive:
            raise TemplateProblem("has a recursive loop, which is not supported")
        self.generic_visit(node)
        node.iter = _call("counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> _Node:
        self.generic_visit(node)
        return _call("joined", *node.nodes)

    def visit_List(self, node: nodes.List) -> _Node:
        self.generic_visit(node)
        return _call("weighed", node)

    def visit_Dict(self, node: nodes.Dict) -> _Node:
        self.generic_visit(node)
        return _call("weighed", node)

    def visit_Tuple(self, node: nodes.Tuple) -> _Node:
        self.generic_visit(node)
        return _call("weighed", node) if node.ctx == "load" else node

    def visit_Filter(self, node: nodes.Filter) -> _Node:
        self.generic_visit(node)
        # Inside {% filter %} there is no node: the value is the block's text, counted as written.
        return _call("weighed", node) if node.node is not None else node

    def visit_TemplateData(self, node: nodes.TemplateData) -> _Node:
        return nodes.Const(node.data)  # which goes through `finalize`, and is counted


def _call(name: str, *arguments: _Node) -> nodes.Expr:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(arguments), [], None, None)


class Environment(ImmutableSandboxedEnvironment):
    """The language, with its bounds; a new one for each rendering."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    intercepted_unops = frozenset(["+", "-"])

    def __init__(self) -> None:
        meter = self._meter = _Meter()
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        own: dict[str, Callable[..., Any]] = {
            "replace": _replace, "join": _join_filter, "indent": _indent, "tojson": _to_json,
            "string": _text,
        }  # fmt: skip
        self.filters = {name: own.get(name, self.filters[name]) for name in _FILTERS}
        self.globals = {
            "range": _range, "dict": dict, "namespace": self.globals["namespace"],
            "raise_exception": _raise, "strftime_now": _now,
        }  # fmt: skip

        # With the context as an argument it is not called when the template is compiled.
        @pass_context
        def finalize(context: Any, value: Any) -> str:
            return meter.write(_text(value))

        self.finalize = finalize

    def counted(self, values: Any) -> Iterator[Any]:
        """The values of a loop, each a step."""
        for value in values:
            self._meter.step()
            yield value

    def joined(self, *values: Any) -> str:
        """The operator ~."""
        return _join("", values)

    def weighed(self, value: Any) -> Any:
        """A value that was made, if it is not too large."""
        self._meter.step()
        return _weighed(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """One operator; what it would make is not made if it is too large."""
        self._meter.step()
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int):
                    _size(_weight(one) * max(times, 0))
        elif operator == "**" and not (isinstance(right, int | float) and abs(right) <= 64):
            raise TemplateProblem("takes something to a power above 64")
        elif operator == "%" and isinstance(left, str | bytes):
            raise TemplateProblem("formats a text by %, which is not supported")
        return _weighed(super().call_binop(context, operator, left, right))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """A sign."""
        self._meter.step()
        return super().call_unop(context, operator, arg)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call; two methods of str are our own, which look first."""
        self._meter.step()
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str):
            if name in ("replace", "join"):
                return (_replace if name == "replace" else _join)(owner, *args, **kwargs)
            if name not in _METHODS[str]:
                raise TemplateProblem(f"calls {name} of a text, which is not supported")
        return _weighed(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> None:
        """Nothing takes the place of str.format, which could make a text of any length."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """The methods that chat templates use, of what a conversation is made of."""
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        plain = isinstance(obj, int | float | bytes)
        return not plain and super().is_safe_attribute(obj, attr, value)


# What a template may make Python raise: all of it is the template's mistake.
_MISTAKES = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError,
    RecursionError, MemoryError, SyntaxError, AssertionError, NotImplementedError,
)  # fmt: skip


def render_bounded(template: str, values: Mapping[str, Any]) -> str:
    """Render a template within the bounds.

    Raises
    ------
    TemplateProblem
        In one line, what the template did.
    """
    if len(template) > MAX_TEMPLATE:
        raise TemplateProblem(
            f"has {len(template):,} characters; expected at most {MAX_TEMPLATE:,}"
        )
    environment = Environment()
    try:
        parsed = _Bounds().visit(environment.parse(template))
        parts = environment.from_string(parsed).generate(**values)
        return "".join(parts)
    except TemplateProblem:
        raise
    except _MISTAKES as error:
        if isinstance(error, RecursionError):
            raise TemplateProblem("is nested too deeply") from None
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TemplateProblem(f"fails: {where}{reason}") from None

"""Expressions that users write in conditions: numbers, names and operators, nothing that could do harm."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from odograph.errors import InvalidArgument

__all__ = ["evaluate"]

_LONGEST = 1000
_MOST_BITS = 256

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(text: str, name: Callable[[str], int | None]) -> int | None:
    """The value of an expression; ``name`` gives those of names and raises KeyError for others.

    Comparisons with something that is not known (None) are false, sums of it unknown. Raises
    :class:`~odograph.InvalidArgument` for what is no such expression.
    """
    if len(text) > _LONGEST:
        raise InvalidArgument("the expression is too long")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, name)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise InvalidArgument(f"{text!r}: {error}") from None
    except KeyError as error:
        raise InvalidArgument(f"{text!r}: {error.args[0]} is not known") from None


def _value(node: ast.expr, name: Callable[[str], int | None]) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            result: int | None = int(value)
        case ast.Name(id=text):
            result = name(text)
        case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _OPERATORS:
            one = _value(operand, name)
            result = None if one is None else int(_OPERATORS[type(kind)](one))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
            sides = _value(left, name), _value(right, name)
            result = None if None in sides else int(_OPERATORS[type(kind)](*sides))
        case ast.BoolOp(op=ast.And(), values=values):
            result = int(all(_value(each, name) for each in values))
        case ast.BoolOp(values=values):
            result = int(any(_value(each, name) for each in values))
        case ast.Compare(left=left, ops=kinds, comparators=others) if all(
            type(kind) in _OPERATORS for kind in kinds
        ):
            sides_of = [_value(each, name) for each in (left, *others)]
            result = int(
                None not in sides_of
                and all(
                    _OPERATORS[type(kind)](one, other)
                    for kind, one, other in zip(kinds, sides_of, sides_of[1:], strict=False)
                )
            )
        case _:
            raise InvalidArgument(f"{ast.unparse(node)!r} is not supported; use numbers, names and operators")
    if result is not None and result.bit_length() > _MOST_BITS:
        raise InvalidArgument("the number is too large")
    return result

"""Which event types a subclass such as `class Link(EventEmitter[A | B])` declares."""

from __future__ import annotations

import sys
from types import UnionType
from typing import Annotated, Any, ForwardRef, TypeVar, Union, get_args, get_origin


def declared_types(cls: type, root: type) -> frozenset[type] | None:
    """Return the event types that `cls` gave to its generic base `root`; None if it named none.

    A parameter that no class can be read from at run time (`Any`, `object`, a TypeVar, a protocol,
    a name that only type checkers see) declares nothing.
    """
    return _classes(_parameter(cls, root), vars(sys.modules.get(cls.__module__, sys)))


def _parameter(base: Any, root: type) -> Any:
    """Return what stands for the parameter of `root` in `base`, a class or a generic alias."""
    origin = get_origin(base) or base
    given = get_args(base)
    if origin is root:
        return given[0] if given else Any
    for each in origin.__dict__.get("__orig_bases__", origin.__bases__):
        below = get_origin(each) or each
        if isinstance(below, type) and issubclass(below, root):
            found = _parameter(each, root)
            if not given:
                return found
            return _substituted(found, dict(zip(origin.__parameters__, given, strict=False)))
    return Any


def _substituted(parameter: Any, given: dict[Any, Any]) -> Any:
    if isinstance(parameter, TypeVar):
        return given.get(parameter, parameter)
    free = getattr(parameter, "__parameters__", ())
    return parameter[tuple(given.get(each, each) for each in free)] if free else parameter


def _classes(parameter: Any, names: dict[str, Any]) -> frozenset[type] | None:  # noqa: PLR0911
    """Return the classes that `parameter` is a union of, or None if it is anything else."""
    origin = get_origin(parameter)
    if origin is Union or origin is UnionType:
        found = [_classes(each, names) for each in get_args(parameter)]
        members = [each for each in found if each is not None]
        return frozenset[type]().union(*members) if len(members) == len(found) else None
    if origin is Annotated:
        return _classes(get_args(parameter)[0], names)
    if hasattr(origin or parameter, "__value__"):  # the alias of a `type` statement
        alias = origin or parameter
        return _classes(alias.__value__[get_args(parameter)] if origin else alias.__value__, names)
    if isinstance(parameter, ForwardRef):
        try:
            # The program's own source, as `typing.get_type_hints` evaluates it.
            return _classes(eval(parameter.__forward_arg__, names), names)  # noqa: S307
        except NameError:
            return None
    cls = origin or parameter
    if not isinstance(cls, type) or cls in (Any, object) or cls.__dict__.get("_is_protocol"):
        return None
    return frozenset([cls])

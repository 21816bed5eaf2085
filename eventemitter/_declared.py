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
    return _classes(_parameter(cls, root, {}))


def _parameter(base: Any, root: type, names: dict[str, Any]) -> Any:
    """Return what stands for the parameter of `root` in `base`, a class or a generic alias.

    Forward references are read where they were written: `names` are those known to `base`.
    """
    origin = get_origin(base) or base
    given = [_evaluated(each, names) for each in get_args(base)]
    if origin is root:
        return given[0] if given else Any
    own = vars(sys.modules.get(origin.__module__, sys))
    said: list[Any] = []
    for each in origin.__dict__.get("__orig_bases__", origin.__bases__):
        below = get_origin(each) or each
        if isinstance(below, type) and issubclass(below, root):
            found = _parameter(each, root, own)
            if given:
                found = _substituted(found, dict(zip(origin.__parameters__, given, strict=False)))
            if found is not Any and not (isinstance(found, TypeVar) and not get_args(each)):
                said.append(found)
    if not said[1:]:
        return said[0] if said else Any
    return Union[tuple(said)]  # noqa: UP007  # pyrefly: ignore[invalid-annotation]


def _evaluated(parameter: Any, names: dict[str, Any]) -> Any:
    if get_origin(parameter) is Union:
        return Union[tuple(_evaluated(each, names) for each in get_args(parameter))]  # noqa: UP007  # pyrefly: ignore[invalid-annotation]
    if not isinstance(parameter, ForwardRef):
        return parameter
    try:
        # The program's own source, as `typing.get_type_hints` evaluates it.
        return _evaluated(eval(parameter.__forward_arg__, names), names)  # noqa: S307
    except Exception:
        return Any  # only type checkers know the name


def _substituted(parameter: Any, given: dict[Any, Any]) -> Any:
    if isinstance(parameter, TypeVar):
        return given.get(parameter, parameter)
    free = getattr(parameter, "__parameters__", ())
    return parameter[tuple(given.get(each, each) for each in free)] if free else parameter


def _classes(parameter: Any) -> frozenset[type] | None:
    """Return the classes that `parameter` is a union of, or None if it is anything else."""
    origin = get_origin(parameter)
    if origin is Union or origin is UnionType:
        found = [_classes(each) for each in get_args(parameter)]
        members = [each for each in found if each is not None]
        return frozenset[type]().union(*members) if len(members) == len(found) else None
    if origin is Annotated:
        return _classes(get_args(parameter)[0])
    if type(origin or parameter).__name__ == "TypeAliasType":  # of a `type` statement
        return _aliased(origin or parameter, get_args(parameter))
    cls = origin or parameter
    if not isinstance(cls, type) or cls in (Any, object) or cls.__dict__.get("_is_protocol"):
        return None
    return frozenset([cls])


def _aliased(alias: Any, given: tuple[Any, ...]) -> frozenset[type] | None:
    try:
        # The value is evaluated only now. Its own parameters may stand in another order.
        named = dict(zip(alias.__type_params__, given, strict=False))
        return _classes(_substituted(alias.__value__, named))
    except Exception:
        return None

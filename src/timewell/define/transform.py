"""A shared transform: one plain function that makes the same value offline and online, with a name, a version and a digest.

Rule: no pydantic here, and the decorated function stays what it was. Programs that only call it pay for nothing else.
"""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from types import FunctionType, MappingProxyType, UnionType
from typing import Any, TypeVar

from timewell.define.dtypes import is_known
from timewell.define.fingerprint import digest_of, digest_of_constants, parsed, source_of
from timewell.define.names import check_name, check_version
from timewell.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])

NOW = "now"
MARK = "__timewell_transform__"
FILE_MARK = "__timewell_file__"  # of a file in the definitions folder: its place below it
_TYPES: dict[object, str] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    date: "date",
    datetime: "timestamp",
}
_made: dict[tuple[str, str, str], list[Transform]] = {}


class Transform:
    """What is known of a shared transform; the function itself stays a plain function.

    Attributes
    ----------
    function
        The plain function.
    name, version
        Who it is in a project: one name and version have one source.
    place
        Where a deployment finds it: ``module`` or ``file.py`` below the definitions folder.
    parameters
        Name of each parameter that is an input, in order, to the type of its values.
    returns
        The type of its value.
    text
        Its source as written, only to be shown; empty where there is none.
    lookup
        Table and default of what :func:`lookup` made.
    """

    def __init__(
        self,
        function: FunctionType,
        *,
        name: str,
        version: str,
        parameters: Mapping[str, str],
        returns: str,
    ) -> None:
        self.function = function
        self.name = name
        self.version = version
        self.parameters = dict(parameters)
        self.returns = returns
        self.text = source_of(function)  # now: the file may be edited while the function is in use
        self.home: Mapping[str, object] = function.__globals__
        self.lookup: tuple[Mapping[object, object], object] | None = None

    def __repr__(self) -> str:
        return f"<transform {self.ref} of {', '.join(self.parameters)} to {self.returns}>"

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def place(self) -> str:
        """``module``, or ``file.py`` below the definitions folder."""
        return str(self.home.get(FILE_MARK) or self.function.__module__)

    @property
    def path(self) -> str:
        """``place:function``, as a definition in YAML names it."""
        return f"{self.place}:{self.function.__name__}"

    @cached_property
    def _digest(self) -> tuple[str, tuple[str, ...]]:
        if self.lookup is not None:
            table, default = self.lookup
            return digest_of_constants(table, default, self.parameters, self.returns), ()
        # on first use: what the function refers to may stand below it in its file
        return digest_of(self.function, self.text)

    @property
    def tree(self) -> ast.AST | None:
        """Its source as Python reads it, without what is not code; ``None`` where there is no text."""
        return parsed(self.text)

    @property
    def source_hash(self) -> str:
        """Digest of its normalized source and of what it uses (see :mod:`timewell.define.fingerprint`)."""
        return self._digest[0]

    @property
    def dependencies(self) -> tuple[str, ...]:
        """What else of the project the digest covers, by name."""
        return self._digest[1]


def transform(
    *,
    version: str,
    name: str | None = None,
    inputs: Mapping[str, object] | Sequence[str] | None = None,
    returns: object = None,
) -> Callable[[F], F]:
    """Mark a plain function as a shared transform; it stays a plain function.

    Parameters
    ----------
    version
        Of its source: other source under the same name and version is refused when a feature that uses it is registered.
    name
        The function's own name when omitted. An earlier version that is still used is kept beside the new one under
        another function name and this name.
    inputs
        Which parameters are inputs, and their types (``{"country": "string"}``, or names alone); those without a default
        value, with the types of their annotations, when omitted. A parameter called ``now`` is an instant.
    returns
        Type of the value, such as ``int64``; that of the annotation when omitted.

    Raises
    ------
    DefinitionError, InvalidName
        Naming the function and what it lacks.

    Examples
    --------
    >>> import timewell as tw
    >>> @tw.transform(version="v1", returns="int64")
    ... def country_to_id(country: str) -> int:
    ...     return {"US": 1, "CA": 2, "GB": 3, "DE": 4}.get(country, 0)
    >>> country_to_id("CA"), [country_to_id(country) for country in ("US", "FR")]
    (2, [1, 0])
    >>> tw.transform_of(country_to_id).parameters
    {'country': 'string'}
    """

    def mark(function: F) -> F:
        if not isinstance(function, FunctionType):
            raise DefinitionError(problem=f"{function!r} is no plain function, which a transform is.")
        own = name or function.__name__
        if function.__name__ == "<lambda>":
            raise DefinitionError(problem="a lambda has no name to be found by.", hint="Write it with def.")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise DefinitionError(problem=f"transform {own!r} must return its value: it is no async def or generator.")
        hints = _hints(function)
        made = Transform(
            function,
            name=check_name(own),
            version=check_version(version),
            parameters=_parameters(function, own, inputs, hints),
            returns=_dtype(returns if returns is not None else hints.get("return"), f"the value of transform {own!r}"),
        )
        keep(made)
        return function

    return mark


def lookup(
    table: Mapping[Any, Any],
    *,
    name: str,
    version: str,
    input: str,  # noqa: A002  # the word of the definitions
    default: object = None,
    returns: object = None,
) -> Callable[[Any], Any]:
    """Make a shared transform that finds its input in a table; it is a plain function of one argument.

    Parameters
    ----------
    table
        Input to value; the keys are all text, all whole numbers or all dates.
    name, version
        As for :func:`transform`; the table and the default are its source.
    input
        Name of the input.
    default
        The value of an input that the table does not have, null included.
    returns
        Type of the value; that of the table's values when omitted.

    Raises
    ------
    DefinitionError
        The keys or values are not of one type.

    Examples
    --------
    >>> import timewell as tw
    >>> country_to_id = tw.lookup({"US": 1, "CA": 2}, name="country_to_id", version="v1", input="country", default=0)
    >>> country_to_id("CA"), country_to_id("FR"), country_to_id(None)
    (2, 0, 0)
    """
    held = MappingProxyType(dict(table))

    def find(value: Any) -> Any:  # noqa: ANN401  # whatever the table holds
        return held.get(value, default)

    home = sys._getframe(1).f_globals  # noqa: SLF001  # as namedtuple does: the module that a deployment finds it in
    find.__name__ = find.__qualname__ = check_name(name)
    find.__module__ = str(home.get("__name__", "__main__"))
    find.__doc__ = f"Find {input} in a table of {len(held):,} rows; {default!r} where it is not there."
    kinds = {type(key) for key in held} or {str}
    values = {type(value) for value in (*held.values(), default)} - {type(None)}
    what = f"lookup {name!r}"
    if len(kinds) > 1 or (returns is None and len(values) != 1):
        problem = f"the {'keys' if len(kinds) > 1 else 'values'} of {what} are not of one type."
        raise DefinitionError(
            problem=problem, hint='Write them alike, or name the type of the values: returns="int64".'
        )
    dtype = _dtype(returns if returns is not None else values.pop(), f"the value of {what}")
    find.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # its input has a name
        [inspect.Parameter(input, inspect.Parameter.POSITIONAL_ONLY)]
    )
    parameters = {check_name(input): _dtype(kinds.pop(), f"the key of {what}")}
    made = Transform(find, name=name, version=check_version(version), parameters=parameters, returns=dtype)  # type: ignore[arg-type]  # a plain function
    made.home, made.lookup = home, (held, default)
    made.text = f"lookup({dict(held)!r}, default={default!r})"
    keep(made)
    return find


def keep(made: Transform) -> None:
    """Note a transform as known to this process."""
    setattr(made.function, MARK, made)
    known = _made.setdefault((made.place, made.name, made.version), [])
    known[:] = [made, *known][:2]  # the one that a module's reload replaced may still be the registered one


def transform_of(function: object) -> Transform:
    """Return what is known of a function that :func:`transform` or :func:`lookup` made.

    Raises
    ------
    DefinitionError
        It is no transform.
    """
    made = getattr(function, MARK, None)
    if not isinstance(made, Transform):
        hint = 'Put @tw.transform(version="v1") above it.'
        raise DefinitionError(problem=f"{function!r} is no shared transform.", hint=hint)
    return made


def known_here(place: str, name: str, version: str) -> Sequence[Transform]:
    """Return the transforms of a place, name and version that this process has made, the newest first."""
    return tuple(_made.get((place, name, version), ()))


def _hints(function: FunctionType) -> dict[str, object]:
    """Return the annotations as types; those that cannot be resolved are left as text."""
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  # an annotation is any expression; what it lacks is told with its name
        return dict(function.__annotations__)


def _parameters(
    function: FunctionType, name: str, inputs: Mapping[str, object] | Sequence[str] | None, hints: Mapping[str, object]
) -> dict[str, str]:
    signature = inspect.signature(function).parameters
    strange = [each.name for each in signature.values() if each.kind in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]
    strange += [each.name for each in signature.values() if each.kind == each.POSITIONAL_ONLY]
    if strange:
        raise DefinitionError(problem=f"transform {name!r}: parameter {strange[0]} has no name that an input can have.")
    needed = [each.name for each in signature.values() if each.default is each.empty]
    given = dict.fromkeys([inputs] if isinstance(inputs, str) else inputs or (), None)
    if isinstance(inputs, Mapping):
        given.update(inputs)
    for each in given:
        if each not in signature:
            problem = f"transform {name!r} has no parameter {each!r}."
            raise DefinitionError(problem=problem, asked=each, known=list(signature))
    wanted = [each for each in signature if each in given or each in needed]
    types = {each: given.get(each) or hints.get(each) or (datetime if each == NOW else None) for each in wanted}
    return {each: _dtype(found, f"parameter {each!r} of transform {name!r}") for each, found in types.items()}


def _dtype(found: object, what: str) -> str:
    """Return our name for an annotation or a name; ``X | None`` is ``X``: any value may be null."""
    if isinstance(found, str) and is_known(found):
        return found
    origin, arguments = typing.get_origin(found), typing.get_args(found)
    if origin in {typing.Union, UnionType}:
        inner = [each for each in arguments if each is not type(None)]
        if len(inner) == 1:
            return _dtype(inner[0], what)
    if origin is list and len(arguments) == 1:
        return f"list<{_dtype(arguments[0], what)}>"
    if isinstance(found, type) and found in _TYPES:
        return _TYPES[found]
    problem = f"{what} has no type" if found is None else f"{what} has a type that is not taken: {found!r}"
    hint = 'Annotate it (bool, int, float, str, date, datetime), or name its type: inputs={"country": "string"}, '
    raise DefinitionError(problem=f"{problem}.", hint=hint + 'returns="int64" (decimals: "decimal(10,2)").')

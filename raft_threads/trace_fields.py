"""How each type of field stands in a trace: one form for each, readable, and without loss (docs/trace-format.md).

The forms follow from the type hints of the records, so that a new event, message or field needs nothing here as long
as it is made of types that are known already. Every value is written straight to text: a long run is traced, and the
general JSON encoder takes several times as long.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Callable, NamedTuple, Optional, Union, get_args, get_origin, get_type_hints


class WrongValue(ValueError):
    """A value in a trace that cannot stand where it stands. The text says why."""


class Form(NamedTuple):
    """How values of one type are written as JSON text, and read back from what `json` makes of it.

    `read` raises WrongValue.
    """

    write: Callable[[Any], str]
    read: Callable[[Any], Any]


# ASCII only: a trace passes through every pipe, pager and editor unharmed.
quoted: Callable[[str], str] = json.JSONEncoder(ensure_ascii=True).encode


@lru_cache(maxsize=None)
def form_of(hint: Any) -> Form:
    """Return the form of values with the type hint `hint`. Raises TypeError for one that has no form."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Union and type(None) in arguments:
        return _or_null(form_of(Union[tuple(each for each in arguments if each is not type(None))]))
    if origin is Union:
        return one_of("type", {kind.__name__: kind for kind in arguments})
    if origin is tuple and arguments[-1] is Ellipsis:
        return _list_of(form_of(arguments[0]))
    if origin is tuple:
        return _fixed_list_of([form_of(argument) for argument in arguments])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _name_of(hint)
    if isinstance(hint, type) and (is_dataclass(hint) or hasattr(hint, "_fields")):
        return object_form(hint)
    raise TypeError(f"a trace has no form for fields of type {hint}")


def object_form(kind: type[Any], tag: str = "") -> Form:
    """Return the form of `kind`, a dataclass or NamedTuple: an object with its fields, in order, after `tag`.

    Fields that do not count when two values are compared follow from the others, and are left out.
    """
    members = [(name, form_of(hint)) for name, hint in _fields_of(kind).items()]
    names = frozenset(name for name, _ in members)
    template = "{" + ",".join([*([tag] if tag else []), *(f'"{name}":%s' for name, _ in members)]) + "}"
    writers = [(name, form.write) for name, form in members]

    def write(value: Any) -> str:
        return template % tuple([write_field(getattr(value, name)) for name, write_field in writers])

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongValue(f"should be an object, and is {_shown(value)}")
        if value.keys() != names:
            raise WrongValue(_difference(names, value))
        return kind(**{name: _read_field(name, form, value[name]) for name, form in members})

    return Form(write, read)


def one_of(key: str, kinds: dict[str, type[Any]]) -> Form:
    """Return the form of objects of different `kinds`, whose first field `key` tells by name which one it is."""
    forms = {name: object_form(kind, f'"{key}":"{name}"') for name, kind in kinds.items()}
    writers = {kind: forms[name].write for name, kind in kinds.items()}

    def write(value: Any) -> str:
        return writers[type(value)](value)

    def read(value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get(key), str):
            raise WrongValue(f'should be an object with "{key}", and is {_shown(value)}')
        name = value.pop(key)
        if name not in forms:
            raise WrongValue(f"there is no {key} {name!r}; was this written by a newer version?")
        return forms[name].read(value)

    return Form(write, read)


def _fields_of(kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a record and their types, in the order in which they are written: the state comes last."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.compare] if is_dataclass(kind) else list(kind._fields)
    names.sort(key=lambda name: name == "state")
    return {name: hints[name] for name in names}


def _read_field(name: str, form: Form, value: Any) -> Any:
    try:
        return form.read(value)
    except WrongValue as error:
        raise WrongValue(f"{name}: {error}") from error


def _difference(names: frozenset[str], value: dict[str, Any]) -> str:
    missing, unknown = sorted(names - value.keys()), sorted(value.keys() - names)
    return f"lacks the field {missing[0]!r}" if missing else f"has a field {unknown[0]!r} that is not known"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _checked(what: str, fits: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a reader for values that stand in a trace as they are."""

    def read(value: Any) -> Any:
        if not fits(value):
            raise WrongValue(f"should be {what}, and is {_shown(value)}")
        return value

    return read


def _or_null(form: Form) -> Form:
    return Form(
        lambda value: "null" if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
    )


def _list_of(form: Form) -> Form:
    def read(value: Any) -> Any:
        return tuple(form.read(each) for each in _a_list(value))

    return Form(lambda value: "[" + ",".join(map(form.write, value)) + "]", read)


def _fixed_list_of(forms: Sequence[Form]) -> Form:
    def read(value: Any) -> Any:
        if len(_a_list(value)) != len(forms):
            raise WrongValue(f"should be a list of {len(forms)}, and is {_shown(value)}")
        return tuple(form.read(each) for form, each in zip(forms, value))

    return Form(lambda value: "[" + ",".join(form.write(each) for form, each in zip(forms, value)) + "]", read)


_a_list = _checked("a list", lambda value: isinstance(value, list))


def _name_of(kind: type[Enum]) -> Form:
    texts = {member: quoted(member.value) for member in kind}
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in members:
            raise WrongValue(f"should be one of {', '.join(members)}, and is {_shown(value)}")
        return members[value]

    return Form(texts.__getitem__, read)


# Bytes: the text they are as UTF-8, or {"base64": ...} if they are none.


def _write_bytes(value: bytes) -> str:
    try:
        return quoted(value.decode("utf-8"))
    except UnicodeDecodeError:
        return '{"base64":"%s"}' % base64.b64encode(value).decode("ascii")


def _read_bytes(value: Any) -> bytes:
    text: Optional[str] = value.get("base64") if isinstance(value, dict) and len(value) == 1 else None
    try:
        if isinstance(value, str):
            return value.encode("utf-8")
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise WrongValue(f'should be text or {{"base64":...}}, and is {_shown(value)}')


# Times and durations: seconds with nine digits after the point, so that whole nanoseconds come back as they were.
_seconds = Form(
    "%.9f".__mod__,
    lambda value: float(_checked("a number", lambda it: type(it) in (int, float) and isfinite(it))(value)),
)
_PLAIN: dict[Any, Form] = {
    int: Form(str, _checked("a whole number", lambda value: type(value) is int)),
    bool: Form(lambda value: "true" if value else "false", _checked("true or false", lambda it: type(it) is bool)),
    str: Form(quoted, _checked("text", lambda value: isinstance(value, str))),
    float: _seconds,
    bytes: Form(_write_bytes, _read_bytes),
}

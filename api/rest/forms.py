"""Commands as JSON: for every command dataclass a form that parses, checks and documents its input.

Names are camelCase as in GraphQL, money is `{"amount": "2.55", "currency": "GBP"}`, moments are RFC 3339 with an
offset, ids are UUIDs; unknown names are refused. `command_of` makes the command.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Union

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    create_model,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from api.rest.examples import EXAMPLES
from commands import COMMANDS
from commands.handling import Command, system
from domain.disclosure import Secret
from domain.money import Money


class MoneyForm(BaseModel):
    """An exact amount of money."""

    model_config = ConfigDict(extra="forbid")

    amount: StrictStr = Field(description='In major units: "2.55".', examples=["2.55"])
    currency: StrictStr = Field(description="An ISO 4217 code.", examples=["GBP"])


def _only_text(value: object) -> object:
    if isinstance(value, str | datetime):
        return value
    raise PydanticCustomError("moment", 'give RFC 3339 with an offset, like "2026-01-31T09:30:00Z"')


Moment = Annotated[AwareDatetime, BeforeValidator(_only_text, json_schema_input_type=str)]
_SIMPLE: Final[dict[Any, Any]] = {
    str: StrictStr,
    # Masked in every repr of the form, and `writeOnly` in its schema.
    Secret: SecretStr,
    int: StrictInt,
    bool: StrictBool,
    datetime: Moment,
    Money: MoneyForm,
}


def name_of(command: Command) -> str:
    """`place-order` for PlaceOrder: the name in URLs and on the command line."""
    return _kebab(command.name)


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


BY_NAME: Final[Mapping[str, Command]] = {name_of(command): command for command in COMMANDS.values()}
# What only our own processes may do is not offered to others.
PUBLIC: Final[Mapping[str, Command]] = {
    name: command for name, command in BY_NAME.items() if command.permission is not system
}


_forms: Final[dict[Any, type[BaseModel]]] = {}


def form_of(kind: Any) -> type[BaseModel]:
    """The form of a command, or of a dataclass in one."""
    if kind not in _forms:
        _forms[kind] = _made_form(kind)
    return _forms[kind]


def _made_form(kind: Any) -> type[BaseModel]:
    hints = typing.get_type_hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING
        fields[field.name] = (_form_type(hints[field.name]), ... if required else field.default)
    example = EXAMPLES.get(_kebab(kind.__name__))
    shown: dict[str, Any] = {"examples": [dict(example)]} if example is not None else {}
    config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, json_schema_extra=shown)
    model: type[BaseModel] = create_model(kind.__name__, __config__=config, __doc__=described(kind), **fields)
    return model


def described(kind: type[Any]) -> str | None:
    """Its docstring, unless that is the signature which `dataclass` writes where there is none."""
    found = inspect.getdoc(kind) or ""
    return None if found.startswith(f"{kind.__name__}(") else found or None


def _form_type(hint: Any) -> Any:
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hasattr(hint, "__supertype__"):
        return _form_type(hint.__supertype__)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is Union:
        return Union[tuple(_form_type(each) for each in typing.get_args(hint))]  # noqa: UP007  # made at run time
    if typing.get_origin(hint) is tuple:
        return list[_form_type(typing.get_args(hint)[0])]  # type: ignore[misc]  # made at run time
    return form_of(hint) if dataclasses.is_dataclass(hint) else hint


def command_of(kind: type[Any], form: BaseModel) -> Any:
    """The command that a filled form means. Raises Invalid for an amount of money that is none."""
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: _value(getattr(form, field.name), hints[field.name], to_camel(field.name))
                   for field in dataclasses.fields(kind)})  # fmt: skip


def _value(value: Any, hint: Any, field: str) -> Any:
    if isinstance(value, SecretStr):
        return Secret(value.get_secret_value())
    if isinstance(value, MoneyForm):
        return Money.of(value.amount, value.currency, field=field)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, list | tuple):
        (inner, *_) = typing.get_args(_without_none(hint))
        return tuple(_value(each, inner, field) for each in value)
    if isinstance(value, BaseModel):
        return command_of(_without_none(hint), value)
    return value


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is Union:
        return next(each for each in typing.get_args(hint) if each is not type(None))
    return hint


def json_schema(command: Command) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a command's input."""
    schema = form_of(command.request).model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def readable(error: ValidationError) -> list[dict[str, Any]]:
    """What is wrong, per field, without the values: they may be secrets."""
    return [{"field": [str(part) for part in each["loc"]], "message": each["msg"]} for each in error.errors()]

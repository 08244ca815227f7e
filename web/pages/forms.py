"""Form fields from the specifications, and their faults in words: one definition serves worker, API and form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from shared.errors import CountersignError
from shared.networks import NETWORKS
from web.locales import shown, written

LIMITS = {Ge: ("ge", "at least"), Gt: ("gt", "more than"), Le: ("le", "at most"), Lt: ("lt", "less than")}
BOUND_FAULTS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
MODES: dict[Any, str] = {int: "numeric", float: "decimal", bool: "switch"}
PARSING_FAULTS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_parsing": "yes or no",
}

NAME_PATTERN = "1 to 63 small letters, digits, '.', '_' and '-', and begin with a letter or digit"
PATTERNS = {"pretrained": "the name of a .pth or .safetensors file, without a folder"}


@dataclass(frozen=True, slots=True)
class FormFault:
    """One thing to mend: the field it stands at, the sentence, and single places where there are several."""

    field: str
    message: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form. ``choices`` are pairs of value and title.

    ``mode`` is the keyboard to offer, or "switch" for what is on or off.
    """

    name: str
    label: str
    hint: str
    value: str
    mode: str = "text"
    choices: tuple[tuple[str, str], ...] = ()


def spec_fields(spec: type[BaseModel], form: Mapping[str, str]) -> dict[str, FormField]:
    """The fields of ``spec`` by name, filled from ``form`` or else with their defaults."""
    return {name: _field(name, info, form) for name, info in spec.model_fields.items() if name != "kind"}


def _field(name: str, info: FieldInfo, form: Mapping[str, str]) -> FormField:
    hint = _sentence(info.description or "") + _bounds(info)
    mode = MODES.get(info.annotation, "text")
    text = form.get(name, field_text(info.default))
    text = shown(text) if float in _kinds(info) else text
    return FormField(name, _label(name), hint, text, mode, _choices(name, info))


def _kinds(info: FieldInfo) -> tuple[Any, ...]:
    """The types that a field may have."""
    return get_args(info.annotation) or (info.annotation,)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _bounds(info: FieldInfo) -> str:
    limits = [
        f"{words} {_figure(getattr(limit, attribute))}"
        for limit in info.metadata
        for kind, (attribute, words) in LIMITS.items()
        if isinstance(limit, kind)
    ]
    return " " + _sentence(", ".join(limits)) if limits else ""


def _figure(value: Any) -> str:
    return written(f"{value:,}" if isinstance(value, int) else f"{value:g}")


def field_text(value: Any) -> str:
    """A setting as a form's field has it."""
    if isinstance(value, bool):
        return "true" if value else ""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _choices(name: str, info: FieldInfo) -> tuple[tuple[str, str], ...]:
    if get_origin(info.annotation) is not Literal:
        return ()
    titles = {network.name: network.title for network in NETWORKS.values()} if name == "network" else {}
    return tuple((str(value), str(titles.get(value, value))) for value in get_args(info.annotation))


def form_faults(error: CountersignError, where: Mapping[str, str], otherwise: str) -> list[FormFault]:
    """``error`` at the fields it concerns: those that a validation names, or the one that its code stands for.

    ``where`` maps the first word of a code to the id of a field; ``otherwise`` is the field of all other codes.
    """
    if isinstance(error.__cause__, ValidationError):
        return [
            FormFault(str(item["loc"][0]) if item["loc"] else otherwise, field_message(item))
            for item in error.__cause__.errors(include_url=False)
        ]
    field = where.get(error.code) or where.get(error.code.partition("_")[0], otherwise)
    details = tuple(f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in error.faults)
    return [FormFault(field, error.message, details)]


def field_message(item: Any) -> str:
    """What pydantic found wrong with one field, as a sentence that names the field."""
    label = _label(str(item["loc"][0])) if item["loc"] else "The form"
    context = item.get("ctx", {})
    if item["type"] in BOUND_FAULTS:
        key, words = BOUND_FAULTS[item["type"]]
        return f"{label} must be {words} {_figure(context[key])}."
    if item["type"] in PARSING_FAULTS:
        return f"{label} must be {PARSING_FAULTS[item['type']]}."
    if item["type"] == "string_pattern_mismatch":
        return f"{label} must be {PATTERNS.get(item['loc'][0], NAME_PATTERN)}."
    if item["type"] == "literal_error":
        return f"{label} must be {context['expected']}."
    return f"{label}: {item['msg']}."

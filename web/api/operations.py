"""The operations of the API: each is a route and its description in one, so that neither can be without the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Fault, InvalidInput
from web.errors import invalid_fields

MAX_PAGE = 1000
MAX_ORDINAL = 2**62
CONVERTERS = dict.fromkeys(("ordinal", "number"), f"int(max={MAX_ORDINAL}):")  # of parts of a path that are no text

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
OPERATIONS: list[Operation] = []  # in the order of the description
Q = TypeVar("Q", bound=BaseModel)


class Query(BaseModel):
    """What may stand behind the question mark: anything else is refused, so that no misspelt filter is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """Nothing."""


class PageQuery(Query):
    """A page of a list that is read in its order."""

    after: int = Field(default=0, ge=0, le=MAX_ORDINAL, description="cursor: begin behind this ordinal")
    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="most rows of a page")


class TableQuery(Query):
    """A list that may be had as a table."""

    format: Literal["json", "ndjson", "csv"] | None = Field(
        default=None, description="json: a page; ndjson, csv: all of it, streamed. Empty: what the header Accept asks"
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """One route below ``/api/v1``: ``path`` as OpenAPI writes it, ``view`` with the query as ``query`` if it has one.

    ``answer`` is what a success holds, of the first of ``media``; ``accepts`` names request headers of
    ``web.api.openapi``, and ``body`` what the request carries: a form, bytes, a part of them
    (which may be empty), or a JSON document.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    view: Callable[..., Response]
    summary: str
    answer: type[BaseModel] | None = None
    query: type[Query] = NoQuery
    status: int = 200
    media: tuple[str, ...] = (JSON,)
    accepts: tuple[str, ...] = ()
    body: Literal["job", "bytes", "part"] | type[BaseModel] | None = None
    endpoint: str = ""

    @property
    def name(self) -> str:
        """Tells the operation: the endpoint of its route, within the blueprint."""
        return self.endpoint or self.view.__name__

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return re.sub(r"{(\w+)}", lambda part: f"<{CONVERTERS.get(part[1], '')}{part[1]}>", self.path)


def register(blueprint: Blueprint, *operations: Operation) -> None:
    """Add the routes of ``operations``, and them to the description."""
    OPERATIONS.extend(operations)
    for operation in operations:
        view = _with_query(operation)
        blueprint.add_url_rule(operation.rule, operation.name, view, methods=[operation.method])


def _with_query(operation: Operation) -> Callable[..., Response]:
    @wraps(operation.view)
    def view(**path: Any) -> Response:
        query = read_query(operation.query)
        return operation.view(**path) if operation.query is NoQuery else operation.view(query=query, **path)

    return view


def read_query(kind: type[Q]) -> Q:
    """The query of the request.

    Raises:
        InvalidInput: code ``parameter_invalid``, with one fault for each parameter.
    """
    _refuse_repeated()
    try:
        return kind.model_validate({name: request.args[name] for name in request.args})
    except ValidationError as error:
        faults = invalid_fields(error, "parameter_invalid").faults
        listed = "; ".join(f"{fault.where}: {fault.message}" for fault in faults)
        raise InvalidInput("parameter_invalid", f"Some parameters cannot be used: {listed}.", faults) from error


def _refuse_repeated() -> None:
    """Of two values one would be ignored, and nobody would know which."""
    names = [name for name, values in request.args.lists() if len(values) > 1]
    if names:
        faults = tuple(Fault("parameter_invalid", "This parameter was sent more than once", name) for name in names)
        raise InvalidInput("parameter_invalid", f"Send each parameter once; repeated: {', '.join(names)}.", faults)


J = TypeVar("J", bound=BaseModel)


def read_json(kind: type[J]) -> J:
    """The JSON document that the request carries.

    Raises:
        InvalidInput: code ``field_invalid``, with one fault for each field and a pointer to it.
    """
    try:
        return kind.model_validate_json(request.get_data() or b"{}")
    except ValidationError as error:
        raise invalid_fields(error, pointers=True) from error

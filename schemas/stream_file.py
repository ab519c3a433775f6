"""Reads stream files; every error names the file, line, key and the nearest valid spelling."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.errors import StreamFileError, did_you_mean
from schemas.stream import Stream


def load_stream(path: str | Path) -> Stream:
    """Read and validate one stream file.

    Raises
    ------
    StreamFileError
        One message with a line for each mistake: file, line, key, what is wrong, nearest spelling.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"{path}: there is no such stream file; `tidegauge init TABLE` writes one"
        raise StreamFileError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as a UTF-8 text file: {error}"
        raise StreamFileError(message) from error
    return parse_stream(text, str(path))


def parse_stream(text: str, path: str) -> Stream:
    """Validate the text of a stream file; `path` is named in errors."""
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{path}{line}: not valid YAML: {error.problem or error.context}"
        raise StreamFileError(message) from error
    except YAMLError as error:
        message = f"{path}: not valid YAML: {error}"
        raise StreamFileError(message) from error
    if not isinstance(document, CommentedMap):
        message = f"{path}: a stream file is a mapping of keys such as `name:` and `source:`"
        raise StreamFileError(message)
    try:
        return Stream.model_validate(_plain(document))
    except ValidationError as error:
        lines = [
            _explain(fault, document, path)
            for fault in error.errors()
            if fault["type"] != "literal_error" or fault["loc"][-1] != "literal[False]"
        ] or [_explain(error.errors()[0], document, path)]
        raise StreamFileError("\n".join(dict.fromkeys(lines))) from error


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the stream file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Stream.model_json_schema()}


def _plain(node: object) -> object:
    """Return the YAML tree as plain dicts, lists and scalars."""
    if isinstance(node, CommentedMap):
        return {_spelling(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    return node


def _spelling(key: object) -> str:
    """Return a key as written; YAML reads the key of ``alarms: {false: ...}`` as a boolean."""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _explain(fault: Mapping[str, Any], document: CommentedMap, path: str) -> str:
    line, known = _line_of(document, fault["loc"])
    where = ".".join(known) or "the stream file"
    kind, field = fault["type"], str(fault["loc"][-1]) if fault["loc"] else ""
    if kind == "extra_forbidden":
        says = f"unknown key {field!r}{did_you_mean(field, _fields_at(fault['loc'][:-1]))}"
    elif kind == "missing":
        says = f"the key {field!r} is missing"
    elif kind == "model_type":
        says = f"must be a mapping, of keys such as {', '.join(_fields_at(fault['loc'])[:3])}"
    else:
        says = str(fault["msg"]).removeprefix("Value error, ")
        given = fault.get("input")
        if isinstance(given, str | int | float) and repr(given) not in says:
            says += f", not {given!r}"
        if kind == "literal_error" and isinstance(given, str):
            words = str(fault["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
            says += did_you_mean(given, words.split(", "))
    return f"{path}:{line}: {where}: {says}"


def _line_of(document: CommentedMap, location: Sequence[int | str]) -> tuple[int, list[str]]:
    """Return the line (from 1) of the deepest part of a location that the file has, and its path.

    Parts that the file does not have are passed over: a missing key, or the name of a union's
    member, which Pydantic puts into the location.
    """
    node: object = document
    line, known = 1, []
    for part in location:
        if isinstance(node, CommentedMap):
            key = next((key for key in node if _spelling(key) == str(part)), None)
            if key is None:
                continue
            place = (node.lc.data or {}).get(key)  # none for a key that came in by `<<:`
            line, node = line if place is None else place[0] + 1, node[key]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, node = node.lc.item(part)[0] + 1, node[part]
        else:
            continue
        known.append(str(part))
    return line, known


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """Return the keys the schema knows at a location."""
    models: list[type[BaseModel]] = [Stream]
    for part in location:
        found: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(str(part))
            if field is not None:
                found += _models_in(field.annotation)
        models = found or models  # an index, or a name the user chose, stays on its model
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []

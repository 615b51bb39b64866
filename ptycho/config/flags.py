"""Conversion between sections of the configuration and command-line flags."""

import argparse
import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ptycho.config.keys import RENAMED, checked
from ptycho.errors import InputError


def _flag_type(hint: Any) -> Any:
    options = [option for option in typing.get_args(hint) if option is not types.NoneType]
    return options[0] if typing.get_origin(hint) in (typing.Union, types.UnionType) else hint


def _flag(name: str, dashes: bool) -> str:
    return f"--{name.replace('_', '-') if dashes else name}"


class Typed(argparse.Action):
    """Stores a value, and the spelling of the flag that it was given with, for error messages."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Store the value of a flag."""
        setattr(namespace, self.dest, values)
        namespace.typed = {**getattr(namespace, "typed", {}), self.dest: option_string}


def add_flags(
    parser: Any,
    section: Any,
    skip: Sequence[str] = (),
    *,
    dashes: bool = False,
    aliases: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Add a flag for every key of a section, with its default and description, to a parser or an argument group.

    ``dashes`` writes ``--n-images`` for ``n_images``, as the guide's data tools do; ``aliases`` are further flags,
    by key. Flags of former key names are accepted, too.
    """
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        if field.name in skip:
            continue
        kind, info = _flag_type(hints[field.name]), typing.cast(Any, field.default)
        options: dict[str, Any] = {
            "default": info.default,
            "help": f"{info.description} (default: %(default)s)",
        }
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is Literal:
            options["choices"] = typing.get_args(kind)
        else:
            options |= {"type": kind, "action": Typed}
        former = [_flag(old, dashes) for old, present in RENAMED.items() if present == field.name]
        options["help"] += "".join(f"; {flag} is the former name of this flag" for flag in former)
        flags = [_flag(field.name, dashes), *([aliases[field.name]] if field.name in aliases else []), *former]
        parser.add_argument(*flags, **options)


def from_flags(section: Any, arguments: argparse.Namespace) -> Any:
    """Return the section given by parsed flags, validated like the configuration file.

    Raises
    ------
    InputError : a value is out of bounds; it names the flag as it was typed
    """
    values = {f.name: getattr(arguments, f.name) for f in dataclasses.fields(section) if hasattr(arguments, f.name)}
    try:
        return checked(section, values, "--")
    except InputError as error:
        found = re.match(r"--(\w+)", str(error))
        typed = getattr(arguments, "typed", {}).get(found[1]) if found else None
        raise InputError(f"{typed}{str(error)[found.end() :]}" if found and typed else str(error)) from None


def as_flags(section: Any, skip: Sequence[str] = (), *, dashes: bool = False) -> list[str]:
    """Return the command-line words from which :func:`from_flags` returns ``section``."""
    words = []
    for name, value in dataclasses.asdict(section).items():
        if name in skip or value is None:
            continue
        if isinstance(value, bool):
            words.append(_flag(name, dashes) if value else _flag(f"no-{name}", dashes))
        else:
            number = isinstance(value, float) and value.is_integer() and math.log10(abs(value) + 1) < 6
            text, flag = str(int(value) if number else value), _flag(name, dashes)
            words += [f"{flag}={text}"] if text.startswith("-") and "e" in text else [flag, text]  # -1e-05 is no flag
    return words

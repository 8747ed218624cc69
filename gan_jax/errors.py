"""What to say when the person at the keyboard, and not the program, made the mistake."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """A wrong key, file or value. Its message says which one, what is wrong and what would be right; the
    programs in `launch/` print it on one line and exit with status 2, without a stack trace."""


def choices(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def choose(name: str, table: Mapping[str, T], what: str) -> T:
    """`table[name]`, or an InputError that lists what could have been asked for.

    `what` names the thing in the reader's words, with its config key, e.g. "loss (config.model.loss)".
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), list(table), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(f"unknown {what}: '{name}'.{hint} Choices: {choices(table)}")


class TrainingFailure(RuntimeError):
    """A run that cannot go on: its losses are not numbers, its disk is full. Printed on one line, exit status 1."""

"""How every program in launch/ starts, and how it ends: mistakes of the user are one line on stderr, not a stack trace.

Exit status: 0 done (also for --help), 1 the run failed, 2 the command was wrong, 130 interrupted from the keyboard.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial

from absl import app, flags

from gan_jax.errors import InputError, TrainingFailure, choices, choose

FLAGS = flags.FLAGS


def run(main: Callable, verbs: Collection[str] = ()) -> None:
    """Parses the flags, calls `main(arguments)` and leaves the program.

    verbs: where there are any, the first argument must be one of them, and `main` gets `[program, verb]`.
    """
    try:
        app.run(main, flags_parser=partial(_parse, verbs=verbs))
    except InputError as error:
        _leave(f"error: {error}", 2)
    except TrainingFailure as error:
        _leave(f"error: {error}", 1)
    except KeyboardInterrupt:
        _leave("interrupted", 130)


def _leave(message: str, status: int) -> None:
    print(_one_line(message), file=sys.stderr, flush=True)
    sys.exit(status)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _parse(arguments: list[str], verbs: Collection[str] = ()) -> list[str]:
    """What absl leaves of the arguments: the program's name, and the verb if there are any.

    Raises:
      InputError: for any mistake in them, or in the config file and variant that they name.
    """
    verb, arguments = _take_verb(arguments, verbs) if verbs else ([], arguments)
    try:
        rest = FLAGS(arguments)
        for name in _config_flags():
            _ = getattr(FLAGS[name].value, "keys", None)  # a file that could not be read raises only when looked at
    except SystemExit:
        raise SystemExit(0) from None  # absl leaves with 1 after --help
    except Exception as error:
        _explain(arguments, error)
        raise
    if len(rest) > 1:
        raise InputError(f"unexpected argument '{rest[1]}'; flags begin with --")
    return rest + verb


def _take_verb(arguments: list[str], verbs: Collection[str]) -> tuple[list[str], list[str]]:
    """The first argument after the program's name, and the arguments without it; nothing is taken where one is help."""
    program, *others = arguments
    if others and not others[0].startswith("-"):
        choose(others[0], dict.fromkeys(verbs), "verb (the first argument)")
        return others[:1], [program, *others[1:]]
    if not any(re.fullmatch(r"--?(help(full|short|xml)?|\?)", argument) for argument in others):
        raise InputError(f"the first argument says what to do. Choices: {choices(verbs)}")
    return [], arguments


def _config_flags() -> list[str]:
    return [name for name in FLAGS if FLAGS[name].flag_type() == "config object"]


def _explain(arguments: list[str], error: Exception) -> None:
    """Raises the InputError that says what caused `error`; returns where it is no mistake in the command."""
    causes = list(_causes(error))
    for cause in reversed(causes):
        if isinstance(cause, InputError):  # raised by the config file itself; absl has wrapped it
            raise cause
    for name in _config_flags():
        path = _value(arguments, name)
        overrides = [match[1] for match in (re.match(rf"--?(?:no)?{name}\.([^=]+)", a) for a in arguments) if match]
        if path is None and overrides:
            raise InputError(f"--{name}.{overrides[0]} needs a --{name}=FILE.py before it") from error
        if path is not None:
            config = _load(name, path, causes)
            for override in overrides if config is not None else ():
                _check_key(name, override, config)
    if missing := re.search(r"Flag --(\w+) must have a value other than None", str(error)):
        raise InputError(f"--{missing[1]} is missing; --help says what it is") from error
    if isinstance(error, flags.Error):
        raise InputError(_one_line(str(error))) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _value(arguments: list[str], name: str) -> str | None:
    """What follows `--name=` or `--name`, if anything does."""
    for place, argument in enumerate(arguments):
        if match := re.fullmatch(rf"--?{name}(?:=(.*))?", argument):
            return match[1] if match[1] is not None else next(iter(arguments[place + 1 :]), None)
    return None


def _load(name: str, path: str, causes: list[BaseException]):
    """The config that `--name=path` asks for, None if its file fails; raises what is wrong with path or variant."""
    file, _, variant = path.partition(":")
    if not os.path.isfile(file):
        folder = os.path.dirname(file)
        beside = (
            [os.path.join(folder, entry) for entry in os.listdir(folder or ".")] if os.path.isdir(folder or ".") else []
        )
        near = difflib.get_close_matches(file, [entry for entry in beside if entry.endswith(".py")], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"--{name}={path}: '{file}' is not a file.{hint}")
    original = causes[-1]
    if variant and isinstance(original, KeyError) and original.args == (variant,):
        raise InputError(f"--{name}={path}: {file} has no variant '{variant}'")
    if isinstance(original, TypeError) and "get_config()" in str(original) and "argument" in str(original):
        wrong = f"has no variants; leave out ':{variant}'" if variant else f"needs a variant: {file}:NAME"
        raise InputError(f"--{name}={path}: {file} {wrong}")
    if "Error whilst parsing config file" in str(causes[0]):
        raise original  # a bug in that file: its own stack trace is what helps
    try:
        config = FLAGS[name].parser.parse(path)
    except Exception:
        return None
    if config is None:
        raise InputError(f"--{name}={path}: get_config() in {file} returned nothing")
    return config


def _check_key(name: str, override: str, config) -> None:
    section, place = config, name
    for key in override.split("."):
        key = key.partition("[")[0]
        if not hasattr(section, "keys"):
            raise InputError(f"--{name}.{override}: {place} is a value, not a section")
        if not section.keys():
            raise InputError(
                f"--{name}.{override}: {place} is empty; set it as a whole: --{place}=\"{{'{key}': ...}}\""
            )
        choose(key, section, f"key of {place} (--{name}.{override})")
        section, place = section[key], f"{place}.{key}"

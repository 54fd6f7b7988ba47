"""docs/command_line.md, out of the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from .command import parser
from .options import PROGRAM

__all__ = ["page"]

_HEAD: Final = f"""\
# Command line

```
{PROGRAM} demo
```

`tinygrad-fnn` is short for `{PROGRAM}`.
This page is printed by `{PROGRAM}.cli`; the same is in `{PROGRAM} COMMAND --help`.

| exit code | |
| --- | --- |
| 0 | done, and the answer is yes |
| 1 | the answer is no: a gradient is wrong, derivatives disagree, a training was interrupted or met a NaN |
| 2 | the question could not be asked: a bad option, a missing or damaged file, a missing extra |

A mistake of yours is one line on the standard error that says what came and what is wanted, not a traceback.
Everything that draws random numbers takes `--seed`, and the same seed gives the same result.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_sections(parser(), ())])


def _sections(whole: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[str]:
    for action in whole._actions:  # argparse has no other way to ask what it was told
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield _section(command, (*path, name), str(helps[name]))
                yield from _sections(command, (*path, name))


def _section(command: argparse.ArgumentParser, path: tuple[str, ...], help: str) -> str:
    title, *rest = (command.description or help).split("\n\n", 1)
    parts = [f"{'#' * (1 + len(path))} {' '.join(path)}", f"{title[0].upper()}{title[1:]}.", *rest]
    rows = [_row(action) for action in command._actions if action.help not in (None, argparse.SUPPRESS, _HELP)]
    if rows:
        parts.append("\n".join(["| | |", "| --- | --- |", *rows]))
    if command.epilog is not None:
        examples, _, more = command.epilog.removeprefix("examples:\n").partition("\n\n")
        lines = "\n".join(line.removeprefix("  ") for line in examples.split("\n"))
        parts += [f"```\n{lines}\n```", *([more] if more else [])]
    if not command.add_help:
        parts.append(f"`{PROGRAM} {' '.join(path)} --help` lists its options.")
    return "\n\n".join(parts) + "\n"


_HELP: Final = next(action.help for action in argparse.ArgumentParser()._actions)


def _row(action: argparse.Action) -> str:
    """An option or argument, and what it is for."""
    value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices is not None else action.metavar
    name = str(value) if action.nargs is None else f"[{value}]"
    if action.option_strings:
        name, value = ", ".join(action.option_strings), value or action.dest.upper()
        if action.nargs != 0:
            name += f" [{value} ...]" if action.nargs == "*" else f" {value}"
    return f"| `{name}` | {action.help} |"

"""What a YAML parser says about a text, in the words of the person who has to mend it."""

from __future__ import annotations

import re

import yaml

_SAID = (
    # (in PyYAML's words, what was expected, whether it is the beginning of the broken thing that helps, not its end)
    ("end of stream|document separator.*quoted", "the quote that is opened here to be closed", True),
    (r"found character '\\t'", "spaces: YAML takes no tab for indentation", False),
    ("found character '[@`%|>]", "quotes around a value that begins with `@`, `` ` `` or `%`", False),
    ("escape (character|sequence)", "single quotes: between double quotes a `\\` begins an escape (a Windows path)", False),
    ("undefined alias '([^']*)'", "the anchor `&{0}` before its alias `*{0}`", False),
    ("scanning an alias", "quotes around a value that begins with `*`: outside them it is an alias", True),
    ("scanning an anchor", "quotes around a value that begins with `&`: outside them it is an anchor", True),
    ("mapping values are not allowed", "one `key: value` in a line, indented as its neighbours; "
     "quotes around a text with `: ` in it; or the line before lacks its colon", False),
    ("could not find expected ':'", "`key: value`: a colon and a space after the key", True),
    ("expected ',' or '\\]'", "`]` at the end of the list that begins here, and `,` between its items", True),
    ("expected ',' or '}'", "`}` at the end of the keys that begin here, `,` between them, and quotes around text with `{`, `}` or `,`",
     True),
    ("expected <block end>.*found '<scalar>'", "the quote that a line above opens to be closed there; "
     "or the same indentation as the line's neighbours", False),
    ("expected <block end>", "the same indentation as the line's neighbours; `- ` before every item of a list", False),
    ("sequence entries are not allowed", "a list on lines of its own below its key, each item after `- `", False),
    ("another document", "one plant in one file, without `---` between", False),
    ("expected ',' or .*got", "`,` between items", False),
    ("special characters are not allowed", "printable text; there is a control character", False),
)  # fmt: skip


def told(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """The line (from 1) and what was expected there."""
    words = f"{error.context or ''}: {error.problem or ''}"
    quoted = "quoted scalar" in words
    for pattern, expected, at_its_beginning in _SAID:
        found = re.search(pattern, words)
        if found is None or (pattern.startswith("end of stream") and not quoted):
            continue
        mark = error.context_mark if at_its_beginning and error.context_mark else error.problem_mark
        return _line(mark), f"valid YAML: {expected.format(*found.groups()) if found.groups() else expected}"
    return _line(error.problem_mark), f"valid YAML: {error.problem}"


def _line(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1

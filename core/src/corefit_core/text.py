"""Text from outside as part of a message or a line of a log. May not do I/O."""

from typing import Final

EXCERPT: Final = 100
"""Characters of a client's text that a message repeats. Quoted, each of them may take ten."""


def one_line(text: str) -> str:
    r"""The text with an escape such as `\n` or `\x1b` for each character that is not printable.

    Whoever sends a name or a path with a line break would otherwise write lines of a log, and with an escape sequence
    commands for the terminal that shows it (CWE-117). Of Unicode's characters, controls, formats such as the marks
    that turn the direction of text, separators but the space, and surrogates are not printable (`str.isprintable`).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def excerpt(text: str) -> str:
    """The beginning of a client's text, quoted, for a message: a name may have as many bytes as a body."""
    return repr(text) if len(text) <= EXCERPT else f"{text[:EXCERPT]!r}... ({len(text)} characters)"


def shown(value: object) -> str:
    """A client's JSON value for a message: text and numbers in short, of a list or an object only that it is one."""
    if isinstance(value, str):
        return excerpt(value)
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else repr(value)[:EXCERPT]

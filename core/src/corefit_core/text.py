"""Text from outside as one line of a log. May not do I/O."""


def one_line(text: str) -> str:
    r"""The text with an escape such as `\n` or `\x1b` for each character that is not printable.

    Whoever sends a name or a path with a line break would otherwise write lines of a log, and with an escape sequence
    commands for the terminal that shows it (CWE-117). Of Unicode's characters, controls, formats such as the marks
    that turn the direction of text, separators but the space, and surrogates are not printable (`str.isprintable`).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

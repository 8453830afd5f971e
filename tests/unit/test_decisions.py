"""The index of decisions names each record with its title and its status, in order."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/decisions"
ROW = re.compile(r"^\| \[(\d{4})\]\(([\w.-]+)\) \| (.+) \| (.+) \|$")
STATUS = re.compile(r"^(Accepted|Proposed|Superseded by \d{4}|Amended by \d{4}(, \d{4})*)$")


def _rows() -> list[tuple[str, str, str, str]]:
    lines = (FOLDER / "README.md").read_text().splitlines()
    return [match.groups() for line in lines if (match := ROW.match(line))]  # type: ignore[misc]


def _title(record: Path) -> str:
    first = record.read_text().splitlines()[0]
    return re.sub(r"^# \d+[:.] ", "", first)


def test_the_index_names_every_record_by_number_and_title() -> None:
    records = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert [row[1] for row in _rows()] == [path.name for path in records]
    assert [row[0] for row in _rows()] == [path.name[:4] for path in records]
    assert [row[2] for row in _rows()] == [_title(path) for path in records]


def test_every_status_is_one_of_four_and_names_a_record_that_exists() -> None:
    numbers = {row[0] for row in _rows()}
    for number, _, _, status in _rows():
        assert STATUS.match(status), f"{number}: {status}"
        assert set(re.findall(r"\d{4}", status)) <= numbers - {number}

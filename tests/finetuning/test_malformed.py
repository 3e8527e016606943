"""Ten thousand malformed files: each is refused in one line, or what is odd about it is counted, or
what is read is what the file says. The table is in tests/README.md."""

import collections
import pathlib

import malformed
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_files import READERS, Reader
from small_run import QUICK

from bert_jax.data.summary import Summary

OUTCOMES = ('refused', 'counted', 'right')
Results = collections.Counter[tuple[str, str]]


def outcome(reader: Reader, kind: str, content: bytes, path: pathlib.Path) -> str:
    """One of OUTCOMES. Raises AssertionError for any other outcome."""
    path.write_text(reader.good)
    usual, summary = Summary(), Summary()
    expected = reader.read(path, usual)
    path.write_bytes(content)
    try:
        found = reader.read(path, summary)
    except ValueError as error:
        assert type(error) is ValueError, 'an error that nobody raised on purpose'
        message = str(error)
        assert path.name in message and '\n' not in message.strip(), message
        return 'refused'
    if {name for name, count in summary.counts.items() if count} - {*usual.counts}:
        return 'counted'
    if found != expected:  # it is another file, and all of its rows are there
        text = content.decode()
        assert kind != 'binary' and reader.rows(text) in (-1, len(found)), found
    return 'right'


def try_files(reader: Reader, count: int, path: pathlib.Path) -> Results:
    results: Results = collections.Counter()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        kind, content = data.draw(malformed.damaged(reader))
        results[kind, outcome(reader, kind, content, path)] += 1

    check()
    return results


@pytest.mark.parametrize('name', READERS)
def test_no_malformed_file_is_believed(name: str, tmp_path: pathlib.Path) -> None:
    reader = READERS[name]
    results = try_files(reader, 100, tmp_path / reader.name)
    assert results.total() >= 100 and sum(results[kind, 'refused'] for kind in malformed.KINDS) >= 5


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='a hundred for each reader are tried above')
def test_ten_thousand_malformed_files(tmp_path: pathlib.Path) -> None:
    """Prints the table of tests/README.md (`pytest -s`)."""
    results: Results = collections.Counter()
    for reader in READERS.values():
        results += try_files(reader, 400, tmp_path / reader.name)
    rows: dict[str, list[int]] = {result: [] for result in ('tried', *OUTCOMES)}
    for kinds in (*([kind] for kind in malformed.KINDS), [*malformed.KINDS]):
        for result in OUTCOMES:
            rows[result].append(sum(results[kind, result] for kind in kinds))
        rows['tried'].append(sum(rows[result][-1] for result in OUTCOMES))
    print(f'\n| kind | {" | ".join(malformed.KINDS)} | all |\n|---{"|---" * len(rows["tried"])}|')
    for result, counts in rows.items():
        print(f'| {result} | {" | ".join(f"{count:,}" for count in counts)} |')
    assert rows['tried'][-1] >= 10_000

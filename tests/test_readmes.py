"""The READMEs: their links resolve, they stay short, and the keys that they name exist."""

import pathlib
import re

import pytest
from tiny_model import ROOT

from bert_jax.config import keys
from bert_jax.config.fields import Fact, facts

FOLDERS = ('bert_jax', 'configs', 'launch', 'tests')
README, LINES, LINES_OF_FOLDERS = 'README.md', 200, 250
READMES = [ROOT / README, *(path for name in FOLDERS for path in (ROOT / name).rglob(README))]
LINK = re.compile(r'\]\(([^)\s]+)\)')
# Files in commands and tables, from the top folder or from tests/.
FILE = re.compile(r'(?<![\w./])((?:tests|launch|configs|bert_jax)/[\w/]+\.\w+|[\w/]+/test_\w+\.py)')
KEY = re.compile(
    r'\bconfig\.([a-z]+(?:\.\w+)?)(?==| )|`((?:model|data|optim|mesh|train|eval)\.\w+)[=`]'
)
KINDS = {'pretraining alone': Fact.PRETRAINING, 'fine-tuning alone': Fact.FINETUNING}


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a file."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}


def rows_under(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without the line of dashes."""
    table = re.search(r'(?:^\|.*\n)+', text.partition(f'\n{heading}\n')[2], re.MULTILINE)
    assert table, heading
    header, _, *rows = table[0].splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in (header, *rows)]


@pytest.mark.parametrize('path', READMES, ids=name_of)
def test_links_resolve(path: pathlib.Path) -> None:
    text = path.read_text()
    for name in FILE.findall(text):
        assert (ROOT / name).exists() or (ROOT / 'tests' / name).exists(), name
    for link in LINK.findall(text):
        if link.startswith(('http://', 'https://')):
            continue
        target, _, anchor = link.partition('#')
        file = (path.parent / target).resolve() if target else path
        assert file.exists() and file.is_relative_to(ROOT), f'{name_of(path)} links to {link}'
        if anchor:
            assert anchor in anchors(file), f'{name_of(path)} links to {link}'


@pytest.mark.parametrize('path', READMES, ids=name_of)
def test_they_are_short(path: pathlib.Path) -> None:
    limit = LINES if path == ROOT / README else LINES_OF_FOLDERS
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize('path', READMES, ids=name_of)
def test_keys_exist(path: pathlib.Path) -> None:
    sections = {key.split('.')[0] for key in keys.KEYS}
    for key in (match[1] or match[2] for match in KEY.finditer(path.read_text())):
        assert key in keys.KEYS or key in sections, f'{name_of(path)} has config.{key}'


def test_the_first_one_links_to_all_others() -> None:
    linked = {(ROOT / link.partition('#')[0]) for link in LINK.findall((ROOT / README).read_text())}
    assert set(READMES[1:]) <= linked


def test_keys_of_each_kind_of_run() -> None:
    """The table says what the fields of the configuration say."""
    text = (ROOT / 'configs' / README).read_text()
    (_, *kinds), *rows = rows_under(text, '## Which kind of run reads which key')
    for column, kind in enumerate(kinds, 1):
        written = {
            key if row[0] == 'top level' else f'{row[0].strip("`")}.{key}'
            for row in rows
            for key in re.findall('`(.*?)`', row[column])
        }
        assert written == {key for key, f in keys.KEYS.items() if KINDS[kind] in facts(f)}


def test_what_to_read_first_is_short() -> None:
    text = (ROOT / 'bert_jax' / README).read_text()
    text = text.partition('\n## Read these first\n')[2].partition('\n## ')[0]
    modules = [
        ROOT / 'bert_jax' / package / f'{name}.py'
        for package, names in re.findall(r'^\d\. `(\w+)/`: (.*)$', text, re.MULTILINE)
        for name in re.findall('`(.*?)`', names)
    ]
    lines = sum(len(path.read_text().splitlines()) for path in modules)
    assert f'These {len(modules)} modules have fewer than 2,500 lines.' in text
    assert lines < 2_500

"""builtin:code: the standard library without docstrings, a statement a line."""

import ast
import pathlib

import pytest

from bert_jax.config import DataConfig
from bert_jax.data.summary import Summary
from bert_jax.data.text import builtin, readers
from bert_jax.data.text.source import Source

MODULE = '''
"""A module."""
# a comment
class Empty:
    """Only a docstring."""

class Full:
    \'\'\'A class.\'\'\'
    size = 'not a docstring'
    async def walk(self):
        """A method."""
        if self.size:  # ends the line
            return """two
lines"""

def nothing():
    "only this"
'''


def test_a_statement_is_a_line_and_docstrings_are_left_out(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'module.py'
    path.write_text(MODULE)
    assert builtin._code_lines(path) == [
        'class Empty:',
        'pass',
        'class Full:',
        "size = 'not a docstring'",
        'async def walk(self):',
        'if self.size:',
        "return 'two\\nlines'",
        'def nothing():',
        'pass',
    ]


@pytest.mark.slow
def test_all_modules_in_order_and_in_full() -> None:
    source, summary = readers.source(DataConfig(corpus='builtin:code')), Summary()
    documents = list(source.read(summary))
    assert summary.passed == source.size > 4e6, 'the progress bar ends at 100 %'
    assert list(builtin.code_modules()) == sorted(builtin.code_modules())
    assert len(documents) == summary.counts['modules of the standard library'] > 300
    assert sum(summary.counts.values()) == len(builtin.code_modules())
    assert documents == list(source.read(Summary()))
    text = '\n'.join(map('\n'.join, documents))
    assert 'for i in range(' in text
    assert all(line == line.strip() and line for line in text.split('\n'))


def test_every_function_of_a_module_is_there() -> None:
    path = next(path for path in builtin.code_modules() if path.name == 'bisect.py')
    tree = ast.parse(path.read_bytes())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert names == {
        line.split()[1].partition('(')[0]
        for line in builtin._code_lines(path)
        if line.startswith('def ')
    }


def test_the_names_of_the_built_in_texts() -> None:
    def source(corpus: str) -> Source:
        return readers.source(DataConfig(corpus=corpus))

    assert source('builtin') == source('builtin:prose') != source('builtin:code')
    with pytest.raises(ValueError, match=r"is 'builtin:codes'; expected .* builtin:code"):
        source('builtin:codes')
    with pytest.raises(ValueError, match=r'corpus is empty: name the text .*=text:FOLDER'):
        source('')

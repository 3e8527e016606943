"""A vocabulary of letters."""

import pytest
from made_prose import PIECES


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / 'letters' / 'vocab.txt'
    path.parent.mkdir()
    path.write_text('\n'.join(PIECES) + '\n')
    return str(path)

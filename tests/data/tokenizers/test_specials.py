import pathlib
import re

from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.specials import BERT, Specials

PACKAGE = pathlib.Path(tokenizer.__file__).parents[2]
QUOTED = re.compile(r"""['"]\[(?:PAD|UNK|CLS|SEP|MASK)\]['"]""")


def test_ids_and_pieces_by_role():
    vocabulary = tokenizer.WordPiece(['a', *BERT.all()], lowercase=True)
    assert vocabulary.specials == Specials(pad=1, unk=2, cls=3, sep=4, mask=5, bos=None, eos=None)
    assert vocabulary.special_pieces == BERT
    assert vocabulary.specials.all() == (1, 2, 3, 4, 5)
    assert vocabulary.mask_markers == ('[MASK]',)


def test_no_module_outside_the_tokenizers_spells_a_special_token():
    # In the configuration, users type [MASK] for every vocabulary.
    modules = [p for p in PACKAGE.rglob('*.py') if p.parent.name not in ('tokenizers', 'config')]
    assert len(modules) > 50
    assert [p for p in modules if QUOTED.search(p.read_text())] == []

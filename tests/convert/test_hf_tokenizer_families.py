"""The tokenizer files of every family: transformers gives our ids, and they are read again."""

import dataclasses
import io
import json
import pathlib
from typing import Any

import pytest
import sentencepiece
from tokenizer_texts import odd_texts

from bert_jax.config import ModelConfig
from bert_jax.convert import hf_rows, hf_tokenizer, hf_tokenizer_files
from bert_jax.data.row_format import ROW_FORMATS
from bert_jax.data.tokenizers import (
    added_words,
    fairseq_sentencepiece,
    tokenizer,
    tokenizer_json,
    word_bpe,
)
from bert_jax.inference.model_dir import Pretrained

TEXTS = [
    'The quick brown foxes jump over the lazy dogs, 20 times.',
    "naïve café owners greet (twice) the 'foxes': $5,000!",
    "C'est l'été à Paris, n'est-ce pas ?",
]
WORDS = ['zephyrs', 'tipiqua']
CASES = {
    ('wordpiece', 'bert'): 'BertTokenizer',
    ('wordpiece', 'distilbert'): 'DistilBertTokenizer',
    ('wordpiece', 'electra'): 'ElectraTokenizer',
    ('wordpiece', 'roberta'): 'PreTrainedTokenizerFast',
    ('byte_bpe', 'roberta'): 'RobertaTokenizer',
    ('byte_bpe', 'bert'): 'PreTrainedTokenizerFast',
    ('sentencepiece', 'albert'): 'PreTrainedTokenizerFast',
    ('sentencepiece', 'xlnet'): 'PreTrainedTokenizerFast',
    ('xlm_roberta', 'xlm-roberta'): 'XLMRobertaTokenizer',
    ('camembert', 'camembert'): 'CamembertTokenizer',
    ('tokenizer_json', 'modernbert'): 'PreTrainedTokenizerFast',
    ('xlm_bpe', 'xlm'): 'XLMTokenizer',
    ('flaubert_bpe', 'flaubert'): 'FlaubertTokenizer',
}
LOWERCASE = {'wordpiece': True, 'sentencepiece': True, 'xlm_bpe': True}


def made(kind: str) -> tokenizer.Tokenizer:
    if kind in word_bpe.KINDS:
        pytest.importorskip('sacremoses')
    if kind in fairseq_sentencepiece.FIRST:
        content = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 10),
            model_writer=content,
            vocab_size=90,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        return fairseq_sentencepiece.FairseqSentencePiece(content.getvalue(), kind)
    if kind == 'tokenizer_json':
        trained = tokenizer.train(TEXTS * 10, 320, False, 'byte_bpe')
        trained.model.add_special_tokens(list(dict.fromkeys(trained.special_pieces.all())))
        return tokenizer_json.JsonTokenizer(trained.model.to_str().encode())
    return tokenizer.train(TEXTS * 10, 320, LOWERCASE.get(kind, False), kind)


def write(
    folder: pathlib.Path, vocabulary: tokenizer.Tokenizer, model_type: str
) -> tuple[dict[str, Any], list[str]]:
    folder.mkdir()
    model: Any = ModelConfig(vocab_size=vocabulary.vocab_size)
    object.__setattr__(model, 'model_type', model_type)
    source = Pretrained(model, (), {}, vocabulary)
    notes = hf_tokenizer_files.write(folder, source)
    (folder / 'config.json').write_text(json.dumps({'model_type': model_type}))
    return json.loads((folder / 'tokenizer_config.json').read_text()), notes


@pytest.mark.parametrize(('kind', 'model_type'), CASES)
def test_what_is_written_is_read(tmp_path: pathlib.Path, kind: str, model_type: str) -> None:
    vocabulary = made(kind)
    settings, _ = write(tmp_path / 'out', vocabulary, model_type)
    assert settings['tokenizer_class'] == CASES[kind, model_type]
    back, notes = hf_tokenizer.read(tmp_path / 'out', None, vocabulary.vocab_size, model_type)
    assert back is not None and not any('makes the row' in note for note in notes), notes
    assert back.pieces == vocabulary.pieces
    assert back.specials == vocabulary.specials
    assert back.lowercase == vocabulary.lowercase
    texts = [*TEXTS, *odd_texts(100)]
    assert back.encode_batch(texts) == vocabulary.encode_batch(texts)
    if settings['tokenizer_class'] != 'PreTrainedTokenizerFast':
        assert (back.kind, back.files) == (vocabulary.kind, vocabulary.files)


@pytest.mark.parametrize(
    ('kind', 'model_type', 'row_format', 'head'),
    [
        ('wordpiece', 'bert', '', 'classifier'),
        ('wordpiece', 'roberta', 'distilbert', 'classifier'),
        ('wordpiece', 'electra', 'roberta', 'classifier'),
        ('byte_bpe', 'bert', 'roberta', 'classifier'),
        ('byte_bpe', 'roberta', '', 'classifier'),
        ('xlm_roberta', 'bert', 'roberta', 'classifier'),
        ('xlm_bpe', 'xlm', 'xlm-bos', 'classifier'),
        ('xlm_bpe', 'xlm', '', 'classifier'),
        ('flaubert_bpe', 'flaubert', 'xlm-bos', 'tagger'),
    ],
)
def test_rows_are_those_of_the_tokenizer(
    tmp_path: pathlib.Path, kind: str, model_type: Any, row_format: Any, head: str
) -> None:
    """The layout of rows that is written is found again."""
    vocabulary, types = made(kind), 1 if model_type == 'roberta' else 2
    model = ModelConfig(vocabulary.vocab_size, model_type=model_type, type_vocab_size=types)
    written = dataclasses.replace(model, row_format=row_format)
    hf_tokenizer_files.write(tmp_path, Pretrained(written, (), {}, vocabulary))
    assert hf_rows.with_rows(model, tmp_path, vocabulary, (head,)) == (written, [])
    if row_format == 'xlm-bos':  # XLM was pretrained without <s>
        assert hf_rows.with_rows(model, tmp_path, vocabulary, ('masked_lm',)) == (model, [])
    if row_format == 'distilbert':  # without a tokenizer.json, the class says it
        (tmp_path / 'tokenizer.json').unlink()
        assert hf_rows.with_rows(model, tmp_path, vocabulary, ()) == (written, [])


def test_other_rows_are_said(tmp_path: pathlib.Path) -> None:
    vocabulary = made('byte_bpe')
    write(tmp_path / 'out', vocabulary, 'bert')
    path = tmp_path / 'out/tokenizer.json'
    none = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True}
    path.write_text(json.dumps(json.loads(path.read_text()) | {'post_processor': none}))
    _, lines = hf_rows.with_rows(ModelConfig(), tmp_path / 'out', vocabulary, ())
    assert 'tokenizer.json makes the row "a b" of the texts' in lines[0]


def test_what_cannot_be_read_is_refused(tmp_path: pathlib.Path) -> None:
    vocabulary = made('byte_bpe')
    folder = tmp_path / 'out'
    write(folder, vocabulary, 'roberta')

    def read(lowercase: bool | None = None, **changes: Any) -> tokenizer.Tokenizer | None:
        path = folder / 'tokenizer_config.json'
        old = path.read_text()
        path.write_text(json.dumps(json.loads(old) | changes))
        try:
            return hf_tokenizer.read(folder, lowercase, vocabulary.vocab_size)[0]
        finally:
            path.write_text(old)

    prefixed = read(add_prefix_space=True)
    assert prefixed is not None
    assert prefixed.encode_batch(['fox']) == vocabulary.encode_batch([' fox'])
    other = read(mask_token='Ġthe')
    assert other is not None
    assert other.special_pieces.mask == 'Ġthe'
    with pytest.raises(ValueError, match='text is not lowercased, but --lowercase is given'):
        read(lowercase=True)
    with pytest.raises(ValueError, match=r"tokenizer_class is 'BarthezTokenizer'; .* supports"):
        read(tokenizer_class='BarthezTokenizer')
    (folder / 'tokenizer.json').write_text(vocabulary.model.to_str())  # type: ignore[attr-defined]
    assert read(tokenizer_class='GPT2Tokenizer').kind == 'tokenizer_json'  # type: ignore[union-attr]
    (folder / 'tokenizer.json').unlink()
    with pytest.raises(ValueError, match=r'out has no sentencepiece.bpe.model .*CamembertTok'):
        read(tokenizer_class='CamembertTokenizer')
    with pytest.raises(ValueError, match="adds '<new>', but the table of embeddings has"):
        read(additional_special_tokens=['<new>'])


@pytest.mark.parametrize('model_type', sorted({model_type for _, model_type in CASES} - {'xlm'}))
def test_no_other_family_has_vocabularies_of_xlm(tmp_path: pathlib.Path, model_type: str) -> None:
    with pytest.raises(ValueError, match=f'no vocabulary of the kind xlm_bpe for {model_type}'):
        write(tmp_path / 'out', made('xlm_bpe'), model_type)


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'model_type'), CASES)
def test_transformers_gives_our_ids(tmp_path: pathlib.Path, kind: str, model_type: str) -> None:
    transformers = pytest.importorskip('transformers')
    vocabulary = made(kind)
    vocabulary = added_words.larger(vocabulary, WORDS)
    write(tmp_path / 'out', vocabulary, model_type)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / 'out'))
    texts = [*TEXTS, *odd_texts(300), *(f'the {x} and ({x}); {x}s {x}' for x in WORDS)]
    # HF's normalizer for SentencePiece drops some characters that the library does not know.
    if kind in fairseq_sentencepiece.FIRST:
        texts = TEXTS
    if vocabulary.kind == 'sentencepiece':
        texts = [text for text in texts if ',' not in text]
    wrong = [
        text
        for text, ids in zip(texts, vocabulary.encode_batch(texts), strict=True)
        if theirs.encode(text, add_special_tokens=False) != ids
    ]
    assert not wrong, wrong[:3]
    names = vocabulary.specials
    a, b = vocabulary.encode_batch(['the fox', 'lazy dogs'])
    row_format = ROW_FORMATS[model_type]
    for texts, segments in ((['the fox'], [a]), (['the fox', 'lazy dogs'], [a, b])):
        row = theirs(*texts)
        assert row['input_ids'] == row_format.row(segments, names)[0]
        if len(row_format.types) > 1:
            assert row['token_type_ids'] == row_format.row(segments, names)[1]
    assert theirs.padding_side == ('left' if row_format.pad_left else 'right')
    masked = theirs.encode(f'the fox {vocabulary.special_pieces.mask}', add_special_tokens=False)
    assert masked == [*a, names.mask]
    roles = ('pad', 'unk', 'cls', 'sep', 'mask')
    assert [getattr(theirs, f'{role}_token_id') for role in roles] == [
        getattr(names, role) for role in roles
    ]


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['wordpiece', 'byte_bpe', 'sentencepiece', 'xlm_roberta'])
def test_what_transformers_writes_is_read(tmp_path: pathlib.Path, kind: str) -> None:
    """transformers 5 writes tokenizer.json and tokenizer_config.json alone."""
    transformers = pytest.importorskip('transformers')
    (model_type,) = [
        m for k, m in CASES if k == kind and m in ('bert', 'roberta', 'albert', 'xlm-roberta')
    ][:1]
    vocabulary = made(kind)
    write(tmp_path / 'out', vocabulary, model_type)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / 'out'))
    theirs.save_pretrained(tmp_path / 'again')
    assert not list((tmp_path / 'again').glob('vocab*'))
    back, _ = hf_tokenizer.read(tmp_path / 'again', None, vocabulary.vocab_size, model_type)
    assert back is not None and back.specials == vocabulary.specials
    texts = [text for text in (*TEXTS, *odd_texts(100)) if '<' not in text and '[' not in text]
    assert back.encode_batch(texts) == [theirs.encode(t, add_special_tokens=False) for t in texts]

"""The token ids of fairseq (XLM-RoBERTa, CamemBERT), and vocabularies from a tokenizer.json."""

import io
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizer_texts import odd_texts
from tokenizers import models, normalizers, pre_tokenizers

from bert_jax.data.tokenizers import fairseq_sentencepiece, tokenizer

TEXTS = ['the quick brown foxes, and the lazy dogs', "naïve café owners' 1999 foxes"] * 20
LAYOUTS = {
    'xlm_roberta': '<s> <pad> </s> <unk>',
    'camembert': '<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED <s> </s>',
}


@pytest.fixture(scope='module')
def model():
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=content,
        vocab_size=70,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return content.getvalue()


@pytest.mark.parametrize('kind', fairseq_sentencepiece.FIRST)
def test_fairseq_numbers(model, kind, tmp_path):
    plain = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = fairseq_sentencepiece.FairseqSentencePiece(model, kind)
    first = LAYOUTS[kind].split()
    assert vocabulary.pieces[: len(first)] == first
    assert (
        vocabulary.pieces[-1] == '<mask>'
        and vocabulary.vocab_size == plain.get_piece_size() - 3 + len(first) + 1
    )
    ids = {'xlm_roberta': (0, 2), 'camembert': (5, 6)}[kind]
    assert (vocabulary.specials.cls, vocabulary.specials.sep) == ids
    assert (vocabulary.specials.pad, vocabulary.specials.unk) == (1, 3)
    texts = [*TEXTS[:2], *odd_texts(300), 'the <mask> </s> 東']
    for text, found in zip(texts, vocabulary.encode_batch(texts), strict=True):
        pieces = [plain.id_to_piece(i) for i in plain.encode(text)]
        assert [vocabulary.pieces[i] for i in found] == pieces
        assert not set(found) & {*ids, 1, vocabulary.specials.mask}
    [encoded] = vocabulary.encode_batch([TEXTS[0]])
    assert vocabulary.decode([ids[0], *encoded, ids[1]]) == TEXTS[0]
    for text, (found, spans) in zip(texts, vocabulary.encode_offsets(texts), strict=True):
        assert [found] == vocabulary.encode_batch([text]) and len(spans) == len(found)
        assert spans == sorted(spans)
    vocabulary.save(tmp_path)
    assert tokenizer.load(tmp_path).files == vocabulary.files


def test_another_model_is_no_fairseq_model(shared_data):
    content = shared_data('vocab/albert-base-v2/spiece.model').read_bytes()
    with pytest.raises(ValueError, match=r'begins with the tokens <pad> <unk> \[CLS\]; the models'):
        fairseq_sentencepiece.FairseqSentencePiece(content, 'camembert')


def byte_level():
    made = tokenizer.train(TEXTS, 300, False, 'byte_bpe')
    made.model.add_special_tokens(['<s>', '<pad>', '</s>', '<unk>', '<mask>'])
    return made.model, made


def word_level():
    """A tokenizer with added tokens outside the model's vocabulary, as ModernBERT has them."""
    model = tokenizers.Tokenizer(models.WordLevel({'the': 0, 'fox': 1, '?': 2}, unk_token='?'))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    model.add_tokens(['two words'])
    model.add_special_tokens(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'])
    model.add_tokens(['after'])
    return model, None


@pytest.mark.parametrize('make', [byte_level, word_level])
def test_tokenizer_json_gives_its_own_ids(make, tmp_path):
    model, same = make()
    model.enable_truncation(3)
    model.enable_padding(length=4)
    (tmp_path / 'tokenizer.json').write_text(model.to_str())
    loaded = tokenizer.load(tmp_path)
    model.no_truncation()
    model.no_padding()
    texts = [*TEXTS[:2], *odd_texts(200), 'The FOX', 'the two words after fox']
    texts = [text for text in texts if '[' not in text and '<' not in text]
    expected = [model.encode(text, add_special_tokens=False).ids for text in texts]
    assert loaded.encode_batch(texts) == expected
    special = loaded.special_pieces
    typed = loaded.encode_batch([f'the {special.mask} {special.sep}'])[0]
    assert not {loaded.specials.mask, loaded.specials.sep} & set(typed)
    if same:
        assert loaded.pieces == same.pieces and loaded.specials == same.specials
        assert (loaded.is_continuation == same.is_continuation).all()
        assert loaded.encode_offsets(texts) == same.encode_offsets(texts)
        assert loaded.encode_words(['fox']) == same.encode_words(['fox'])
    assert loaded.lowercase == (same is None)
    out = tmp_path / 'out'
    out.mkdir()
    loaded.save(out)
    assert tokenizer.load(out).encode_batch(texts) == expected
    assert tokenizer.load(out).files == loaded.files


def test_ends_of_words(tmp_path):
    ids = {'[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, '[MASK]': 4, 'a': 5, 'b</w>': 6, 'b': 7}
    model = tokenizers.Tokenizer(models.BPE(ids, [], end_of_word_suffix='</w>'))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / 'tokenizer.json').write_text(model.to_str())
    loaded = tokenizer.load(tmp_path)
    [ids] = loaded.encode_batch(['ab aab b'])
    assert loaded.word_starts(np.array(ids)).tolist() == [1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{}', 'tokenizer.json is not a tokenizer.json'),
        (
            word_level()[0].to_str().replace('[MASK]', '[MASKE]'),
            r'no \[MASK\] or <mask>; name them',
        ),
    ],
)
def test_refused(tmp_path, content, message):
    (tmp_path / 'tokenizer.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        tokenizer.load(tmp_path)


def test_special_tokens_of_other_names(tmp_path):
    model, _ = word_level()
    (tmp_path / 'tokenizer.json').write_text(model.to_str().replace('[MASK]', '[MASKE]'))
    stated = {'kind': 'tokenizer_json', 'specials': {'mask': '[MASKE]'}}
    (tmp_path / 'vocabulary.json').write_text(json.dumps(stated))
    loaded = tokenizer.load(tmp_path)
    assert loaded.special_pieces.mask == '[MASKE]'
    assert loaded.mask_markers == ('[MASKE]', '[MASK]')

import collections
import gzip
import re
import unicodedata

import numpy as np
import pytest
import sentencepiece

from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.specials import Specials
from bert_jax.data.tokenizers.tokenizer import SPECIALS

TEXT = [
    'the quick brown fox jumps over the lazy dog',
    'naïve café owners greet the foxes, 1999 times!',
    'über alles: 東京 and 大阪 are cities',
] * 20
NASTY = [
    '',
    ' \t ',
    'Ünïcödé ÀÉÎ straße ﬁne Ǆ İstanbul',
    'a\u200bb\u00adc\x00d\ufffde\x07f\u2028g\u3000h\u00a0i',
    '東京とTōkyō, 大阪1号 한국어 ไทย हिन्दी',
    "don't [MASK] [SEP] it's $3.50 -- e.g. ``so'' —“quoted”— x²",
    '😀👨‍👩‍👧 é e\u0301 \u0301 ' + 'a' * 99 + ' ' + 'b' * 101,
    'https://a.b/c?d=e&f#g ^~`|\\<>{} ¿qué? «oui»',
]


def test_training_gives_berts_layout():
    trained = tokenizer.train(TEXT, 200, lowercase=True)
    assert trained.pieces[:5] == list(SPECIALS)
    assert trained.vocab_size == len(set(trained.pieces)) <= 200
    assert {'the', '##o', 'f', '東'} <= set(trained.pieces)
    assert not {'##,', '##東', 'é', '##é', '##!'} & set(trained.pieces)  # they never occur
    ids = trained.encode_batch(['the fox', 'THE FÖX', '§'])
    assert trained.decode(ids[0]) == 'the fox' and ids[0] == ids[1]
    assert ids[2] == [trained.specials.unk]
    begins = ~trained.is_continuation
    assert begins[ids[0]].sum() == 2
    ordinary = set(trained.ordinary_ids.tolist())
    assert ordinary == set(range(5, trained.vocab_size))


def test_a_cased_vocabulary_keeps_case_and_accents():
    trained = tokenizer.train([*TEXT, 'The Café'], 200, lowercase=False)
    assert {'é', 'T', 'ü'} <= set(trained.pieces) | {piece[2:] for piece in trained.pieces}
    upper, lower = trained.encode_batch(['The', 'the'])
    assert upper != lower


def test_rare_characters_stay_out_of_a_trained_alphabet():
    texts = ['abcdefgh ' * 2000] * 10 + ['ж']
    assert 'ж' not in tokenizer.train(texts, 100, lowercase=True).pieces
    assert 'ж' in tokenizer.train(texts + ['ж'] * 1000, 100, lowercase=True).pieces


def test_too_little_to_train_on():
    with pytest.raises(ValueError, match='no text to train a vocabulary on'):
        tokenizer.train(['', ' '], 100, lowercase=True)
    with pytest.raises(ValueError, match=r'vocabulary of 7 tokens is too small.*raise'):
        tokenizer.train(TEXT, 7, lowercase=True)


def vocab_file(tmp_path, pieces):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(pieces) + '\n')
    return path


def test_specials_are_found_by_name_wherever_they_stand(tmp_path):
    pieces = ['[PAD]', '[unused0]', '[unused99]', '[UNK]', 'a', '[MASK]', '##b', '[SEP]', '[CLS]']
    loaded = tokenizer.load(vocab_file(tmp_path, pieces))
    assert loaded.specials == Specials(pad=0, unk=3, cls=8, sep=7, mask=5)
    assert loaded.ordinary_ids.tolist() == [4, 6]
    assert np.flatnonzero(loaded.is_continuation).tolist() == [6]
    # Text that spells a special token is text.
    assert not set(loaded.encode_batch(['a [MASK] [SEP] ab'])[0]) & {0, 5, 7, 8}


@pytest.mark.parametrize(
    'lowercase, strip_accents, expected',
    [
        (True, None, ['cafe', 'ก']),
        (True, False, ['café', 'กิ']),
        (False, True, ['Cafe', 'ก']),
        (False, None, ['Café', 'กิ']),
    ],
)
def test_accents_apart_from_lower_case(tmp_path, lowercase, strip_accents, expected):
    pieces = [*SPECIALS, 'cafe', 'café', 'Cafe', 'Café', 'ก', 'กิ']
    made = tokenizer.WordPiece(pieces, lowercase, strip_accents=strip_accents)
    assert [made.pieces[i] for i in made.encode_batch(['Café กิ'])[0]] == expected
    made.save(tmp_path)
    # Without the option there is no other file, so that older stores and checkpoints are the same.
    assert (tmp_path / 'vocabulary.json').exists() == (strip_accents is not None)
    loaded = tokenizer.load(tmp_path, lowercase)
    assert loaded.strip_accents == strip_accents
    assert [loaded.pieces[i] for i in loaded.encode_batch(['Café กิ'])[0]] == expected


def test_saving_and_loading(tmp_path):
    trained = tokenizer.train(TEXT, 200, lowercase=True)
    trained.save(tmp_path)
    loaded = tokenizer.load(tmp_path)
    assert loaded.pieces == trained.pieces and loaded.specials == trained.specials
    assert loaded.encode_batch(TEXT) == trained.encode_batch(TEXT)


@pytest.mark.parametrize(
    'content, message',
    [
        ('[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n', r'vocab\.txt has no \[MASK\].*add the missing'),
        ('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n', r"line 8 repeats 'a' of line 6"),
        ('{"[PAD]": 0, "[UNK]": 1}', r'is JSON; expected a token on each line.*tokenizer\.json'),
        ('[PAD]\t0\n[UNK]\t1\na\t2.5\n', 'has a number beside each token .* cut -f1 FILE'),
        ('[PAD] 0\n[UNK] 1\n[CLS] 2\na 3\n', r"line 1 has \[PAD\], but also .*'\[PAD\] 0'"),
        ('0\t[PAD]\n1\t[UNK]\n2\ta\n', 'has a number beside each token .* cut -f2 FILE'),
        ('token,id\n[PAD],0\n[UNK],1\n', r"line 2 has \[PAD\], but also .*'\[PAD\],0'"),
        ('["[PAD]", "[UNK]", "a"]', r'line 1 has \[PAD\], but also something else'),
        (b'[PAD]\n\xff\xfe\n', 'is not UTF-8 text'),
        ('[PAD]\n', r'has no \[UNK\] or <unk>, no \[CLS\] .*, no \[MASK\] or <mask>'),
        ('', r'vocab\.txt has no special token, .* not a vocabulary'),
        ('404: Not Found', r"has no special token, .* It begins with '404: Not Found'"),
        ('version https://git-lfs.github.com/spec/v1\n', "It begins with 'version https://git-lfs"),
    ],
)
def test_bad_vocabularies(tmp_path, content, message):
    path = tmp_path / 'vocab.txt'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        tokenizer.load(path)


def test_a_byte_order_mark_is_not_part_of_the_first_token(tmp_path):
    path = vocab_file(tmp_path, [*SPECIALS, 'a'])
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    loaded = tokenizer.load(path)
    assert loaded.pieces == [*SPECIALS, 'a']
    loaded.save(tmp_path)
    assert path.read_text().startswith('[PAD]')


def test_a_word_piece_vocabulary_with_other_names(tmp_path):
    pieces = ['<s>', '<pad>', '</s>', '<unk>', 'a', '<mask>']
    loaded = tokenizer.load(vocab_file(tmp_path, pieces))
    assert loaded.specials == Specials(pad=1, unk=3, cls=0, sep=2, mask=5, bos=0, eos=2)
    assert loaded.encode_batch(['a <mask> é']) == [[4, 3, 3, 3, 3]]
    assert loaded.mask_markers == ('<mask>', '[MASK]')


@pytest.mark.parametrize(
    'pieces, lowercase, message',
    [
        (['a', 'B'], True, '1 tokens of the vocabulary have capital letters and are never used'),
        (['a', 'b'], False, r'no token .* has a capital letter, but .* become \[UNK\]'),
        (['a', 'b'], True, '^$'),
        (['a', 'B'], False, '^$'),
    ],
)
def test_the_case_of_a_vocabulary(pieces, lowercase, message):
    warning = tokenizer.WordPiece([*SPECIALS, *pieces], lowercase).case_warning()
    assert re.match(message, warning)


def test_every_name_of_a_vocabulary_file(tmp_path):
    model = sentencepiece_model(tmp_path, control_symbols=['<mask>'], pad_id=3).read_bytes()
    byte_bpe = tokenizer.train(TEXT, 300, False, 'byte_bpe')
    byte_bpe.model.add_special_tokens(byte_bpe.pieces[:4])
    contents = {'vocab.txt': '\n'.join([*SPECIALS, 'a']).encode(), **byte_bpe.files}
    contents['tokenizer.json'] = byte_bpe.model.to_str().encode()
    for name in tokenizer.READERS:
        folder = tmp_path / name
        folder.mkdir()
        assert tokenizer.find(folder) is None
        (folder / 'merges.txt').write_bytes(contents['merges.txt'])
        (folder / name).write_bytes(contents.get(name, model))
        assert tokenizer.find(folder) == folder / name
        tokenizer.load(folder).save(folder)
        assert tokenizer.load(folder).pieces == tokenizer.load(folder / name).pieces


def test_nothing_to_load(tmp_path):
    with pytest.raises(ValueError, match='does not exist'):
        tokenizer.load(tmp_path / 'vocab.txt')
    with pytest.raises(ValueError, match=r'has no vocab\.txt'):
        tokenizer.load(tmp_path)
    (tmp_path / 'a.model').write_text('no model')
    with pytest.raises(ValueError, match='is not a SentencePiece model'):
        tokenizer.load(tmp_path / 'a.model')


@pytest.mark.parametrize('case', ['uncased', 'cased'])
def test_word_pieces_are_those_of_berts_own_code(shared_data, case):
    legacy = pytest.importorskip('transformers.models.bert.tokenization_bert_legacy')
    path = shared_data(f'vocab/bert-base-{case}/vocab.txt')
    lowercase = case == 'uncased'
    reference = legacy.BertTokenizerLegacy(str(path), do_lower_case=lowercase)
    loaded = tokenizer.load(path, lowercase)
    assert loaded.vocab_size == {'uncased': 30522, 'cased': 28996}[case]
    assert not any(loaded.pieces[i].startswith('[unused') for i in loaded.ordinary_ids)
    lines = NASTY.copy()
    for name in ('wikipedia_leads_en.txt.gz', 'wikipedia_leads_fr.txt.gz'):
        with gzip.open(shared_data(f'corpora/{name}'), 'rt') as file:
            lines += [line.strip() for _, line in zip(range(400), file, strict=False)]
    if not lowercase:  # transformers composes accents there, google-research/bert does not
        lines = [unicodedata.normalize('NFC', line) for line in lines]
    basic = reference.basic_tokenizer.tokenize
    expected = [
        [piece for word in basic(line) for piece in reference.wordpiece_tokenizer.tokenize(word)]
        for line in lines
    ]
    found = [[loaded.pieces[i] for i in ids] for ids in loaded.encode_batch(lines)]
    assert found == expected


def sentencepiece_model(tmp_path, **options):
    path = tmp_path / 'm.model'
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_prefix=str(path.with_suffix('')),
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return path


@pytest.mark.parametrize(
    'options',
    [
        {'control_symbols': ['[CLS]', '[SEP]', '[MASK]'], 'pad_id': 3},
        {'user_defined_symbols': ['[CLS]', '[SEP]', '[MASK]'], 'pad_id': 3},
        {'control_symbols': ['<cls>', '<sep>', '<mask>'], 'pad_id': 3},
        {'control_symbols': ['<mask>'], 'pad_id': 3},  # with <s> and </s>
    ],
)
def test_sentencepiece_models(tmp_path, options):
    path = sentencepiece_model(tmp_path, **options)
    loaded = tokenizer.load(path, lowercase=True)
    roles = loaded.specials
    assert len({roles.pad, roles.unk, roles.cls, roles.sep, roles.mask}) == 5
    wanted = [*options.get('control_symbols', []), *options.get('user_defined_symbols', [])]
    assert loaded.pieces[loaded.specials.mask] == wanted[-1]
    assert not set(loaded.specials.all()) & set(loaded.ordinary_ids.tolist())
    ids, upper, special = loaded.encode_batch(['naive fox', 'NAÏVE FOX', f'the {wanted[-1]} fox'])
    assert ids == upper and loaded.decode(ids) == 'naive fox'
    assert not {loaded.specials.cls, loaded.specials.sep, loaded.specials.mask} & set(special)
    assert (~loaded.is_continuation[ids]).sum() == 2
    loaded.save(tmp_path)
    assert tokenizer.load(tmp_path).pieces == loaded.pieces


def test_a_sentencepiece_model_without_a_mask(tmp_path):
    with pytest.raises(ValueError, match=r'has no \[PAD\] or <pad>.*--control_symbols=.*--pad_id'):
        tokenizer.load(sentencepiece_model(tmp_path))
    with pytest.raises(ValueError, match=r'm.model has no .*\[MASK\] or <mask>; train the model'):
        tokenizer.load(sentencepiece_model(tmp_path, pad_id=3))


def test_albert_and_xlnet_models(shared_data):
    albert_path = shared_data('vocab/albert-base-v2/spiece.model')
    albert = tokenizer.load(albert_path, lowercase=True)
    assert albert.specials == Specials(pad=0, unk=1, cls=2, sep=3, mask=4)
    assert 'lowercased: capital letters' in tokenizer.load(albert_path, False).case_warning()
    words = albert.encode_batch(['Crème BRÛLÉE', 'creme brulee'])
    assert words[0] == words[1]
    xlnet = tokenizer.load(shared_data('vocab/xlnet-base-cased/spiece.model'), lowercase=False)
    assert xlnet.specials == Specials(pad=5, unk=0, cls=3, sep=4, mask=6, bos=1, eos=2)
    typed = xlnet.encode_batch(['a <eop> <eod> </s> b'])[0]
    assert xlnet.specials.unk in typed and not {'<eop>', '<eod>'} & {xlnet.pieces[i] for i in typed}
    counts = collections.Counter(xlnet.pieces[i] for i in xlnet.ordinary_ids)
    assert counts['▁the'] == 1 and not counts['<eod>'] and not counts['</s>']

"""The sources of texts in several languages, and of pairs of sentences."""

import dataclasses

import pytest

from bert_jax.config import DataConfig
from bert_jax.data.summary import Summary
from bert_jax.data.text import languages

SENTENCES = ('A small dog barks .', 'Two women walk by the sea .', 'The man is asleep .')
PHRASES = ('Un petit chien aboie .', 'Deux femmes marchent au bord de la mer .', "L'homme dort .")


@pytest.mark.parametrize('shape', ['two files', 'two columns'])
def test_pairs_of_files(tmp_path, shape):
    rows = [*zip(SENTENCES, PHRASES, strict=True), ('Nobody .', ''), ('', ''), ('Yes .', 'Oui .')]
    if shape == 'two files':
        for i, name in enumerate(('one', 'other')):
            (tmp_path / name).write_text('\n'.join(row[i] for row in rows) + '\n')
        value = f'en-fr=text:{tmp_path}/one|text:{tmp_path}/other'
    else:
        (tmp_path / 'both').write_text('\n'.join('\t'.join(row).strip() for row in rows) + '\n')
        value = f'en-fr=text:{tmp_path}/both'
    (tmp_path / 'en.txt').write_text('Some text.')
    data = DataConfig(corpus=f'en=text:{tmp_path}/en.txt', parallel=value)
    summary = Summary()
    found = list(languages.source(data).parts['en-fr'].read(summary))
    assert found == [list(row) for row in rows if all(row)]
    counted = [what for what in summary.lines() if what.startswith('pairs without one')]
    assert counted[0].endswith(f'(first: {tmp_path}/{"one" if "|" in value else "both"}:4)')
    assert summary.lines()[counted[0]] == 2


@pytest.mark.parametrize(
    ('corpus', 'parallel', 'says'),
    [
        ('en=text:{0}/a.txt', 'en-fr=text:{0}/a.txt|text:{0}/b.txt', 'a.txt:2 has no partner: '),
        ('en=text:{0}/a.txt', 'en-fr=text:{0}/b.txt|text:{0}/a.txt', 'a.txt:2 has no partner: '),
        ('en=text:{0}/a.txt', 'en-fr=text:{0}/c.tsv', 'c.tsv:1 has 3 columns'),
        ('en=text:{0}/a.txt', 'en-fr=text:{0}/none', 'none is not a file'),
        ('en=text:{0}/a.txt', 'en-en=text:{0}/c.tsv', "expected 'en-fr=text:FILE'"),
        ('en=text:{0}/a.txt', 'text:{0}/c.tsv', "expected 'en-fr=text:FILE'"),
        ('text:{0}/a.txt', 'en-fr=text:{0}/c.tsv', 'expected the language in front'),
        ('en=text:{0}/a.txt,en=text:{0}/b.txt', '', 'expected en once'),
        ('en=text:{0}/a.txt,fr=text:{0}/none', '', 'no file matches'),
    ],
)
def test_mistakes_are_named(tmp_path, corpus, parallel, says):
    (tmp_path / 'a.txt').write_text('One.\nTwo.\n')
    (tmp_path / 'b.txt').write_text('Un.\n')
    (tmp_path / 'c.tsv').write_text('One.\tUn.\tUno.\n')
    data = DataConfig(corpus=corpus.format(tmp_path), parallel=parallel.format(tmp_path))
    with pytest.raises(ValueError) as raised:
        list(languages.source(data).read(Summary()))
    assert says in str(raised.value)


def test_held_out_text_of_its_own_has_no_language():
    data = DataConfig(corpus='en=text:a.txt,fr=text:b.txt', eval_corpus='text:c.txt')
    with pytest.raises(ValueError, match=r"data\.eval_corpus is 'text:c\.txt'; expected ''"):
        languages.source(data)


def test_a_shared_vocabulary_is_trained_on_more_of_the_smaller_languages():
    source = languages.Source(lambda summary: iter(()), '')
    parts = {
        name: dataclasses.replace(source, characters=size)
        for name, size in (('en', 900_000), ('fr', 100_000))
    }
    assert languages.vocabulary_characters(parts, 10_000) == {'en': 7500, 'fr': 2500}
    assert languages.vocabulary_characters(parts, 10**8) == {'en': 300_000, 'fr': 100_000}
    assert languages.vocabulary_characters({'': source}, 10_000) == {'': 10_000}

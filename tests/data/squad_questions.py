"""Questions made for tests, and their windows over a small vocabulary."""

from bert_jax.config import DataConfig
from bert_jax.data.labelled import squad_windows
from bert_jax.data.labelled.squad import Answer, Question
from bert_jax.data.tokenizers import tokenizer

WORDS = ['w', 'x', 'y', 'z', 'the', 'cafe', '##s', '(', ')', '.', ',', '?']
PIECES = [*tokenizer.SPECIALS, *WORDS, 'where', 'was', 'it', 'in', 'krakow', 'not', 'paris']

VOCABULARY = tokenizer.WordPiece([*PIECES, *map(str, range(100))], lowercase=True)


def question(context, answers=(), is_impossible=False, text='where was it?', name='q'):
    found = [Answer(answer, start, start + len(answer)) for answer, start in answers]
    return Question(name, text, context, found, is_impossible, f'a.json: {name}')


def make(questions, training=False, summary=None, **options):
    sizes = {'max_seq_length': 64, 'max_query_length': 8} | options
    data = DataConfig(**sizes)
    return squad_windows.windows(questions, VOCABULARY, data, training=training, summary=summary)

import copy
import json
import unicodedata

import pytest

from bert_jax.data.labelled import squad
from bert_jax.data.labelled.answer_places import FOUND, LOST, NEAREST
from bert_jax.data.summary import Summary

CONTEXT = 'The café was in  Kraków, not in Paris (1980s).'
FILE = {
    'version': 'v2.0',
    'data': [
        {
            'title': 'Towns',
            'paragraphs': [
                {
                    'context': CONTEXT,
                    'qas': [
                        {
                            'id': 'a1',
                            'question': 'Where was it?',
                            'is_impossible': False,
                            'answers': [
                                {'text': 'Kraków', 'answer_start': CONTEXT.index('Kraków')},
                                {'text': 'in  Kraków', 'answer_start': CONTEXT.index('in')},
                            ],
                        },
                        {'id': 'a2', 'question': 'Why?', 'is_impossible': True, 'answers': []},
                    ],
                }
            ],
        }
    ],
}


def put(folder, content):
    path = folder / 'squad.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def edited(edit):
    content = copy.deepcopy(FILE)
    paragraph = content['data'][0]['paragraphs'][0]
    edit(content, paragraph, paragraph['qas'][0])
    return content


def test_reading(tmp_path):
    path = put(tmp_path, FILE)
    where, impossible = squad.read(path)
    assert where.answers == [('Kraków', 17, 23), ('in  Kraków', 13, 23)] and not where.is_impossible
    assert impossible.is_impossible and impossible.answers == []
    assert where.where == f'{path}: data[0].paragraphs[0].qas[0] (id a1)'
    expected = {'a1': ['Kraków', 'in  Kraków'], 'a2': []}
    assert squad.references([where, impossible]) == expected


def test_without_the_flag_no_answers_mean_impossible_in_2_0_only(tmp_path):
    content = edited(lambda c, p, q: p['qas'][1].pop('is_impossible'))
    assert squad.read(put(tmp_path, content))[1].is_impossible
    assert not squad.read(put(tmp_path, content | {'version': '1.1'}))[1].is_impossible
    article = content['data'][0] | {'version': '1.1'}  # without the list around it
    assert not squad.read(put(tmp_path, article))[1].is_impossible
    del content['data'][0]['paragraphs'][0]['qas'][1]['answers']  # a test file
    assert not squad.read(put(tmp_path, content))[1].is_impossible


@pytest.mark.parametrize(
    'text, start, span, count',
    [
        ('Paris', 0, (32, 37), FOUND),
        ('in', 25, (29, 31), NEAREST),
        (' Paris\n', 31, (32, 37), FOUND),
        ('Paris', -3, (32, 37), FOUND),
        ('in Kraków', 13, (13, 23), FOUND),
        ('in\xa0Krako\u0301w', 13, (13, 23), FOUND),
        ('Rome', 3, (-1, -1), LOST),
        ('Krakow', 17, (-1, -1), LOST),
    ],
)
def test_answers_are_looked_for(tmp_path, text, start, span, count):
    answer = {'text': text, 'answer_start': start}
    path = put(tmp_path, edited(lambda c, p, q: q.update(answers=[answer])))
    summary = Summary()
    assert squad.read(path, summary)[0].answers == [(text, *span)]
    name = f'{count} (first: {path}: data[0].paragraphs[0].qas[0] (id a1).answers[0])'
    assert summary.lines() == {name: 1, 'questions': 2}


def test_the_context_may_have_its_accents_apart(tmp_path):
    def edit(content, paragraph, asked):
        paragraph['context'] = unicodedata.normalize('NFD', CONTEXT)
        del asked['answers'][1]

    found = squad.read(put(tmp_path, edited(edit)))[0]
    (answer,) = found.answers
    assert answer.text == 'Kraków'
    assert found.context[answer.start : answer.end] == 'Krako\u0301w'


@pytest.mark.parametrize(
    'edit, message',
    [
        (lambda c, p, q: c.pop('data'), r"squad\.json has no 'question', only \['version'\]"),
        (lambda c, p, q: c.update(data=[]), r'squad\.json has no questions'),
        (
            lambda c, p, q: c['data'].insert(0, 7),
            r"data\[0\] is 7; expected an object with 'question'",
        ),
        (lambda c, p, q: p.pop('context'), r"data\[0\]\.paragraphs\[0\] has no 'context'"),
        (lambda c, p, q: p.update(context=' '), r"qas\[0\] \(id a1\): 'context' is empty"),
        (lambda c, p, q: p.update(qas={}), r"'qas' is \{\}; expected list"),
        (lambda c, p, q: q.update(id=[7]), r"qas\[0\]: 'id' is \[7\]; expected str"),
        (lambda c, p, q: q.pop('question'), r"qas\[0\] has no 'question'"),
        (
            lambda c, p, q: q.update(id='a2'),
            r"qas\[1\] \(id a2\) has the 'id' of .*qas\[0\] \(id a2\); give",
        ),
        (
            lambda c, p, q: q.update(question='\ud800'),
            r"qas\[0\] has half a .* in 'question'",
        ),
        (lambda c, p, q: q.update(is_impossible=True), r"is true, but it has 2 'answers'"),
        (lambda c, p, q: q.update(is_impossible='no'), r"'is_impossible' is 'no'; expected bool"),
        (
            lambda c, p, q: q['answers'][1].pop('text'),
            r"\(id a1\)\.answers\[1\] is .*; expected an object with 'text'",
        ),
        (lambda c, p, q: q['answers'][0].update(answer_start='x7'), "is 'x7'; expected int"),
        (lambda c, p, q: q['answers'][0].update(answer_start=1.5), 'is 1.5; expected int'),
        (lambda c, p, q: q['answers'][0].update(answer_start=True), 'is True; expected int'),
    ],
)
def test_broken_files(tmp_path, edit, message):
    with pytest.raises(ValueError, match=message):
        squad.read(put(tmp_path, edited(edit)))


def test_what_is_no_json(tmp_path):
    with pytest.raises(ValueError, match=r'squad\.json:1:11 is not JSON \(Expecting value\)'):
        squad.read(put(tmp_path, '{"data": ['))
    with pytest.raises(ValueError, match=r'squad\.json has no questions'):
        squad.read(put(tmp_path, '[]'))
    with pytest.raises(ValueError, match=r'cannot be read .No such file'):
        squad.read(tmp_path / 'gone.json')


def flat(**changes):
    """Returns a question as a line of jsonl."""
    qas = FILE['data'][0]['paragraphs'][0]['qas']
    return {'context': CONTEXT} | qas[0] | changes


def test_jsonl_has_the_questions_of_the_nested_file(tmp_path):
    nested = squad.read(put(tmp_path, FILE))
    lists = {'text': ['Kraków', 'in  Kraków'], 'answer_start': [17, 13]}
    path = tmp_path / 'a.jsonl'
    lines = [flat(answers=lists), flat(**FILE['data'][0]['paragraphs'][0]['qas'][1])]
    lines.append({'question': 'Who?', 'context': CONTEXT})
    lines.append({'question': 'Who?', 'context': CONTEXT, 'id': 7, 'answers': []})
    path.write_text('\n'.join(map(json.dumps, lines)))
    summary = Summary()
    first, second, third, last = squad.read(path, summary)
    assert (first.id, first.answers, first.is_impossible) == ('a1', nested[0].answers, False)
    assert (second.id, second.answers, second.is_impossible) == ('a2', [], True)
    assert (third.id, third.answers, third.is_impossible) == (f'{path}:3', [], False)
    assert (last.id, last.is_impossible) == ('7', True)
    assert summary.lines() == {'questions': 4}


@pytest.mark.parametrize(
    'lines, message',
    [
        ([flat(), flat()], r"a\.jsonl:2 has the 'id' of .*:1; give"),
        ([{'question': 'Who?'}], r"a\.jsonl:1 has no 'context'"),
        ([flat(context=' ')], r"a\.jsonl:1: 'context' is empty"),
        ([flat(answers={'text': ['x'], 'answer_start': []})], r'1 texts and 0 starts'),
        ([flat(answers={'text': ['x']})], r"a\.jsonl:1 has no 'answer_start'"),
        ([['Who?']], r'a\.jsonl:1 is \["Who\?"\]; expected an object'),
        ([], r'a\.jsonl has no questions'),
    ],
)
def test_broken_lines(tmp_path, lines, message):
    path = tmp_path / 'a.jsonl'
    path.write_text('\n'.join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match=message):
        squad.read(path)


@pytest.mark.parametrize(
    ('unit', 'encoding', 'size'), [('UTF-16 units', 'utf-16-le', 2), ('bytes', 'utf-8', 1)]
)
def test_offsets_in_other_units_are_converted(tmp_path, unit, encoding, size):
    context = '\U0001f600' * 4 + ' mill mill mill. otto built a mill in berlin.'
    start = len(context[: context.index('mill')].encode(encoding)) // size
    line = {'question': 'what?', 'context': context}
    line['answers'] = [{'text': 'mill', 'answer_start': start}]
    path, summary = tmp_path / 'a.jsonl', Summary()
    path.write_text(json.dumps(line))
    (question,) = squad.read(path, summary)
    assert question.answers == [('mill', 5, 9)]
    name = f'answers whose answer_start counts {unit}, converted (first: {path}:1.answers[0])'
    assert summary.lines() == {name: 1, 'questions': 1}
    # By chance, the answer is also at the same number of characters.
    line['context'] = '\U0001f600' * 5 + ' mill' * 9
    line['answers'] = [{'text': 'mill', 'answer_start': 11}]
    path.write_text(json.dumps(line))
    summary = Summary()
    assert squad.read(path, summary)[0].answers == [('mill', 11, 15)]
    assert 'may count characters or UTF-16 units, read as characters' in str(summary)


@pytest.mark.parametrize('version', ['1.1', 'v2.0'])
def test_an_empty_answer_is_no_answer(tmp_path, version):
    def edit(content, paragraph, asked):
        content['version'] = version
        empty = [{'text': '', 'answer_start': -1}]
        paragraph['qas'][1] |= {'is_impossible': True, 'answers': empty}
        more = [{'id': 'a3', 'question': 'Who?', 'answers': empty}]
        no_text = [{'text': 'No answer', 'answer_start': -1}]
        more.append({'id': 'a5', 'question': 'Who?', 'answers': no_text})
        more.append({'id': 'a4', 'question': 'Who?', 'answers': [*asked['answers'], *empty]})
        paragraph['qas'] += more

    summary = Summary()
    _, second, third, fourth, last = squad.read(put(tmp_path, edited(edit)), summary)
    assert second.is_impossible and third.is_impossible and fourth.is_impossible
    assert not third.answers and not fourth.answers
    assert not last.is_impossible and len(last.answers) == 2
    assert summary.counts == {
        squad.EMPTY: 2,
        'empty answers beside others, left out': 1,
        'questions': 5,
    }


@pytest.mark.parametrize(
    'changes',
    [
        {'id': 12},
        {'id': None},
        {'is_impossible': 0},
        {'is_impossible': None},
        {'is_impossible': 'false'},
        {'answers': [{'text': 'Kraków', 'answer_start': '17'}]},
        {'answers': [{'text': 'Kraków', 'answer_start': 17.0}]},
        {'answers': [{'text': 'Kraków', 'answer_start': '17.0'}]},
        {'id': ''},
        {'answers': ['Kraków']},
        {'answers': [{'text': 'Kraków'}]},
        {'answers': {'text': 'Kraków', 'answer_start': 17}},
        {'answers': {'text': ['Kraków'], 'answer_start': [17]}},
    ],
)
def test_values_that_are_plain_in_another_type(tmp_path, changes):
    path = put(tmp_path, [flat(**changes)])
    (question,) = squad.read(path)
    assert question.answers[0] == ('Kraków', 17, 23) and not question.is_impossible
    place = f'{path}: [0]'
    assert question.id == {12: '12', None: place, '': place}.get(changes.get('id', 'a1'), 'a1')


@pytest.mark.parametrize('cell', ['null', 'None', ''])
def test_a_cell_without_answers(tmp_path, cell):
    path = tmp_path / 'a.csv'
    path.write_text(f'question,context,answers\nWhere was it?,"{CONTEXT}",{cell}\n')
    (question,) = squad.read(path)
    assert question.answers == [] and not question.is_impossible


def test_questions_in_every_format(tmp_path):
    rows = [flat(id=f'q{i}', answers={'text': ['Kraków'], 'answer_start': [17]}) for i in range(2)]
    nested = {'data': [{'paragraphs': [{'context': CONTEXT, 'qas': rows}, {'context': 'x'}]}]}
    head, cells = 'id,question,context,', [f'q{i},Where was it?,"{CONTEXT}",' for i in range(2)]
    contents = {
        'a.jsonl': '\n'.join(map(json.dumps, rows)),
        'a.json': json.dumps(rows),
        'b.json': json.dumps({'data': rows}),
        'c.json': '\n'.join(map(json.dumps, rows)),
        'd.json': json.dumps(nested),
        'b.jsonl': json.dumps(nested),
        'e.json': json.dumps(nested['data'][0]['paragraphs'][:1]),
        'a.csv': '\n'.join([f'{head}answer_text,answer_start', *(f'{c}Kraków,17' for c in cells)]),
        'b.csv': '\n'.join([f'{head}answers', *(f"{c}\"{{'text': ['Kraków']," for c in cells)]),
    }
    contents['b.csv'] = contents['b.csv'].replace(
        "['Kraków'],", "['Kraków'], 'answer_start': [17]}\""
    )
    arrays = "array(['Kraków'], dtype=object), 'answer_start': array([17], dtype=int32)}"
    contents['c.csv'] = contents['b.csv'].replace("['Kraków'], 'answer_start': [17]}", arrays)
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        found = squad.read(tmp_path / name)
        assert [(q.id, q.context, q.answers) for q in found] == [
            (f'q{i}', CONTEXT, [('Kraków', 17, 23)]) for i in range(2)
        ], name

"""Compares all families with transformers: states, logits, gradients, heads and conversions.

    pytest -s tests/parity/test_families.py

prints the differences. The weights are random and five times as large as fresh ones, because with
small weights a wrong activation or epsilon would not show.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from family_models import (
    GRADIENTS,
    SHAPES,
    apply,
    batch,
    gradient_gap,
    ours,
    their_inputs,
    their_model,
)
from reference import HIDDEN, LOGITS, torch
from small_run import QUICK

from bert_jax.convert import hf
from bert_jax.convert.families import FAMILIES
from bert_jax.inference.model_dir import Pretrained

pytestmark = pytest.mark.slow

LIKE_ROBERTA = ('xlm-roberta', 'camembert')  # the same tables with other names of classes
TABLE = [
    (kind, i)
    for kind, shapes in SHAPES.items()
    for i in range(1 if QUICK and kind in LIKE_ROBERTA else len(shapes))
]


@pytest.fixture(autouse=True)
def a_cache_that_pre_norm_can_subscript(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5 subscripts an object that cannot be subscripted in FlauBERT with pre_norm."""
    from transformers.models.flaubert import modeling_flaubert

    class Cache(modeling_flaubert.EncoderDecoderCache):
        def __getitem__(self, _: int) -> Any:
            return self

    monkeypatch.setattr(modeling_flaubert, 'EncoderDecoderCache', Cache)


@pytest.mark.parametrize(('kind', 'number'), TABLE)
def test_masked_lm(tmp_path: pathlib.Path, kind: str, number: int) -> None:
    """Hidden states and logits of each configuration agree, and gradients of the first one."""
    theirs = their_model(kind, number)
    mine = ours(theirs, tmp_path)
    assert mine.heads == ('masked_lm',) and mine.config.model_type == kind
    inputs = batch(mine.config)
    labels = np.random.default_rng(1).integers(4, mine.config.vocab_size, inputs['input_ids'].shape)
    real = inputs['attention_mask'] > 0

    tensors = their_inputs(kind, mine.config, inputs)
    hidden = getattr(theirs, theirs.base_model_prefix)(**tensors)[0]
    logits = theirs(**tensors).logits
    wanted = torch.tensor(np.where(real, labels, -100)).long()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()

    def loss(params: Any) -> tuple[jax.Array, Any]:
        outputs = apply(mine, inputs, params)
        scores = jax.nn.log_softmax(outputs['prediction_logits'])
        chosen = jnp.take_along_axis(scores, labels[:, :, None], axis=-1)[:, :, 0]
        return -jnp.sum(chosen * real) / real.sum(), outputs

    if number:
        outputs = jax.jit(lambda params: apply(mine, inputs, params))(mine.params)
    else:
        gradients, outputs = jax.jit(jax.grad(loss, has_aux=True))(mine.params)
    found = {}
    for name, array, tensor, bar in (
        ('hidden', outputs['last_hidden_state'], hidden, HIDDEN),
        ('logits', outputs['prediction_logits'], logits, LOGITS),
    ):
        there = tensor.detach().numpy()[real]
        found[name] = float(np.abs(np.asarray(array)[real] - there).max())
        assert found[name] <= bar and np.abs(there).max() > 1
    if not number:
        found['gradients'] = gradient_gap(mine, gradients, theirs)
        assert found['gradients'] <= GRADIENTS
    print(f'| {kind} {number} |', ' | '.join(f'{name} {x:.1e}' for name, x in found.items()))


@pytest.mark.parametrize(
    ('kind', 'number', 'changes'),
    [
        ('bert', 1, {'hidden_act': 'gelu'}),
        ('bert', 1, {'layer_norm_eps': 1e-12}),
        ('roberta', 0, {'layer_norm_eps': 1e-12}),
        ('roberta', 1, {'masked_lm_act': 'relu'}),
        ('roberta', 1, {'position_offset': 2}),
        ('albert', 0, {'hidden_act': 'gelu'}),
        ('modernbert', 0, {'local_attention': 10}),
        ('modernbert', 0, {'local_rope_theta': 9_000.0}),
        ('xlnet', 1, {'clamp_len': 7}),
    ],
)
def test_a_wrong_setting_shows(
    tmp_path: pathlib.Path, kind: str, number: int, changes: dict[str, Any]
) -> None:
    """The tolerances of the other tests would be exceeded."""
    mine = ours(their_model(kind, number), tmp_path)
    wrong = dataclasses.replace(mine, config=dataclasses.replace(mine.config, **changes))
    inputs = batch(mine.config)
    right, other = (jax.jit(lambda p, x=x: apply(x, inputs, p))(mine.params) for x in (mine, wrong))
    gap = np.abs(right['prediction_logits'] - other['prediction_logits'])
    assert gap[inputs['attention_mask'] > 0].max() > LOGITS


@pytest.mark.parametrize(
    'head', ['', 'SequenceClassification', 'TokenClassification', 'QuestionAnswering']
)
@pytest.mark.parametrize('kind', SHAPES)
def test_heads_and_the_way_back(tmp_path: pathlib.Path, kind: str, head: str) -> None:
    """The outputs of each head agree. Then transformers reads the converted model, with the same
    tensors."""
    if QUICK and kind in LIKE_ROBERTA and head != 'SequenceClassification':
        pytest.skip('the names are those of RoBERTa')
    theirs = their_model(kind, 2 if kind == 'modernbert' else 1, head)
    mine = ours(theirs, tmp_path / 'theirs')
    inputs = batch(mine.config)
    with torch.no_grad():
        outputs = theirs(**their_inputs(kind, mine.config, inputs))
    found = jax.jit(lambda params: apply(mine, inputs, params))(mine.params)
    compared = 0
    for name, here in found.items():
        there = {'pooler_output': 'pooler_output'}.get(name, name)
        if outputs.get(there) is None:
            continue
        wanted, compared = outputs[there].numpy(), compared + 1
        per_token = here.shape[:2] == inputs['input_ids'].shape
        real = inputs['attention_mask'] > 0 if per_token else slice(None)
        bar = LOGITS if 'logits' in name else HIDDEN
        np.testing.assert_allclose(np.asarray(here)[real], wanted[real], atol=bar, rtol=0)
    assert compared == {'': 1 + ('pooler' in mine.heads), 'QuestionAnswering': 2}.get(head, 1)
    back(theirs, mine, tmp_path / 'back')


def back(theirs: Any, mine: Pretrained, folder: pathlib.Path) -> None:
    """Writes `mine`; transformers must read the same tensors as those of `theirs`."""
    folder.mkdir()
    assert hf.write(folder, mine) == []
    again, info = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    there = theirs.state_dict()
    assert again.state_dict().keys() == there.keys()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, there[name]), name
    for key in ('pad_token_id', 'layer_norm_eps', 'norm_eps', 'tie_word_embeddings'):
        assert getattr(again.config, key, None) == getattr(theirs.config, key, None), key


@pytest.mark.parametrize('kind', SHAPES)
def test_masked_lm_and_the_way_back(tmp_path: pathlib.Path, kind: str) -> None:
    """This includes a decoder that is not tied, and a file with the tied tensors."""
    theirs = their_model(kind, 0)
    mine = ours(theirs, tmp_path / 'theirs')
    back(theirs, mine, tmp_path / 'back')
    family = FAMILIES[kind]
    tensors = {name: tensor.numpy().copy() for name, tensor in theirs.state_dict().items()}
    tensors |= {family.decoder: tensors[family.words]}
    write_tensors(tmp_path / 'theirs', tensors)
    tied = hf.read(tmp_path / 'theirs')
    assert tied.model.tie_word_embeddings and tied.unused[family.decoder].startswith('the same as')
    write_tensors(tmp_path / 'theirs', tensors | {family.decoder: tensors[family.words] + 1})
    untied = hf.read(tmp_path / 'theirs')
    assert not untied.model.tie_word_embeddings and family.decoder in untied.tensors


def write_tensors(folder: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(dict(tensors), folder / 'model.safetensors')


def test_the_discriminator_is_an_encoder(tmp_path: pathlib.Path) -> None:
    theirs = their_model('electra', 0, 'PreTraining')
    theirs.save_pretrained(tmp_path)
    source = hf.read(tmp_path)
    assert source.heads == () and len(source.unused) == 4
    assert all(name.startswith('discriminator_predictions') for name in source.unused)


@pytest.mark.parametrize(
    ('kind', 'head', 'here', 'there'),
    [
        ('bert', 'next_sentence', 'seq_relationship_logits', 'seq_relationship_logits'),
        ('albert', 'sentence_order', 'sentence_order_logits', 'sop_logits'),
    ],
)
def test_the_pretraining_heads(
    tmp_path: pathlib.Path, kind: str, head: str, here: str, there: str
) -> None:
    theirs = their_model(kind, 0, 'PreTraining')
    mine = ours(theirs, tmp_path / 'theirs')
    assert mine.heads == ('pooler', 'masked_lm', head)
    inputs = batch(mine.config)
    with torch.no_grad():
        outputs = theirs(**their_inputs(kind, mine.config, inputs))
    found = jax.jit(lambda params: apply(mine, inputs, params))(mine.params)
    np.testing.assert_allclose(found[here], outputs[there].numpy(), atol=LOGITS, rtol=0)
    back(theirs, mine, tmp_path / 'back')

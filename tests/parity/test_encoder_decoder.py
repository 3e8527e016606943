"""Hugging Face's EncoderDecoderModel and ours: equal scores, texts and tensors."""

import pathlib
from typing import Any

import jax
import numpy as np
import pytest
import small_run
from reference import torch, transformers

from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.inference import model_dir
from bert_jax.models.generation import Search, generate
from bert_jax.models.inputs import EncoderInputs

START, END, VOCAB, LONGEST = 2, 3, 40, 12
SIZES = {
    'vocab_size': VOCAB,
    'hidden_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 48,
    'max_position_embeddings': 32,
}
FAMILIES = {  # the classes of the two sides, and the id of padding
    'bert': ('BertModel', 'BertLMHeadModel', 'BertConfig', 0),
    'roberta': ('RobertaModel', 'RobertaForCausalLM', 'RobertaConfig', 1),
}
# (num_beams, length_penalty, early_stopping, min_length, no_repeat_ngram_size)
Searched = tuple[int, float, bool, int, int]
SEARCHES: dict[str, list[Searched]] = {
    'bert': [(1, 1.0, False, 0, 0), (4, 0.6, False, 0, 0)],
    'roberta': [(3, 1.0, True, 5, 2), (1, 1.0, False, 6, 3)],
}
MORE: list[Searched] = [
    (2, 0.0, False, 0, 1),
    (5, 2.0, False, 4, 0),
    (3, -1.0, False, 0, 0),
    (3, 1.0, True, 0, 0),
]


def random_model(family: str) -> Any:
    """A model whose texts differ: its weights are larger than fresh ones, most of all those of the
    attention to the source. The decoder has fewer layers than the encoder."""
    encoder, decoder, config, pad = FAMILIES[family]
    torch.manual_seed(0)
    make = getattr(transformers, config)
    sizes = SIZES | {'pad_token_id': pad}
    one, tied = make(**sizes), {'tie_word_embeddings': family == 'bert'}
    sizes |= {'num_hidden_layers': 1, **tied}
    two = make(**sizes, is_decoder=True, add_cross_attention=True)
    model = transformers.EncoderDecoderModel(
        encoder=getattr(transformers, encoder)(one), decoder=getattr(transformers, decoder)(two)
    )
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.mul_(25 if 'crossattention' in name else 8)
            elif 'LayerNorm' in name or name.endswith('bias'):
                value.add_(0.1 * torch.randn_like(value))
        for name, bias in model.named_parameters():
            if 'bias' in name and len(bias) == VOCAB:
                bias.copy_(0.1 * torch.linspace(-1, 1, VOCAB))
                bias[pad] = -50  # the decoder of RoBERTa gives padding the position of padding
                bias[END] += 1.0
    model.config.decoder_start_token_id, model.config.pad_token_id = START, pad
    return model.eval()


def inputs(rows: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mask = (np.arange(9) < random.integers(3, 10, rows)[:, None]).astype(np.int32)
    ids = random.integers(4, VOCAB, (rows, 9)) * mask + pad * (1 - mask)
    return ids.astype(np.int32), mask


def up_to_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(END) + 1] if END in ids else ids


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_the_same_scores_texts_and_tensors(tmp_path: pathlib.Path, family: str) -> None:
    theirs, pad = random_model(family), FAMILIES[family][-1]
    theirs.save_pretrained(tmp_path / 'theirs')
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'ours')
    ours = model_dir.load(tmp_path / 'ours')
    assert ours.heads == ('masked_lm', 'decoder') and ours.config.num_decoder_layers == 1
    assert ours.config.tie_word_embeddings == (family == 'bert')
    ids, mask = inputs(200, pad)
    read = EncoderInputs(ids, segment_ids=mask)
    targets = np.random.default_rng(1).integers(4, VOCAB, (200, 7)).astype(np.int32)
    given: Any = {'input_ids': torch.tensor(ids).long(), 'attention_mask': torch.tensor(mask)}
    with torch.no_grad():
        expected = theirs(**given, decoder_input_ids=torch.tensor(targets).long())
    found = jax.jit(ours.model.apply)({'params': ours.params}, read, targets)
    hidden = np.abs(found['last_hidden_state'] - expected.encoder_last_hidden_state.numpy())
    assert (hidden * mask[:, :, None]).max() < 1e-5
    logits = expected.logits.numpy()
    np.testing.assert_allclose(found['prediction_logits'], logits, atol=1e-4, rtol=0)
    assert np.abs(logits).max() > 3

    for beams, penalty, early, least, size in SEARCHES[family] + MORE * (not small_run.QUICK):
        search = Search(START, END, pad, VOCAB, LONGEST, beams, penalty, early, least, size)
        written = jax.jit(generate, static_argnums=(0, 3))(ours.model, ours.params, read, search)
        options = {'num_beams': beams, 'length_penalty': penalty, 'early_stopping': early}
        with torch.no_grad():
            reference = theirs.generate(
                **given,
                **(options if beams > 1 else {}),
                **({'min_length': least, 'no_repeat_ngram_size': size} if least + size else {}),
                max_length=LONGEST + 1,
                decoder_start_token_id=START,
                eos_token_id=END,
                pad_token_id=pad,
            )
        texts = [up_to_end(row) for row in np.asarray(written).tolist()]
        assert texts == [up_to_end(row[1:]) for row in reference.tolist()], options
        lengths, different = {len(text) for text in texts}, {tuple(text) for text in texts}
        # Large penalties give texts of the same length.
        assert abs(penalty - 0.5) > 0.5 or (len(lengths) > 3 and len(different) > 20), options

    convert_out('hf', tmp_path / 'ours', tmp_path / 'again')
    again, info = transformers.EncoderDecoderModel.from_pretrained(
        tmp_path / 'again', output_loading_info=True
    )
    absent = {name for name in info['missing_keys'] if '.pooler.' not in name}
    assert not absent and not info['unexpected_keys'] and not info['mismatched_keys']
    tensors = dict(theirs.named_parameters())
    for name, tensor in again.named_parameters():
        if '.pooler.' not in name:
            assert torch.equal(tensor, tensors[name]), name

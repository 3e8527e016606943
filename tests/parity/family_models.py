"""Tiny random models of every family: of transformers, and the same ones in bert_jax."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from reference import torch, transformers

from bert_jax.config import ModelConfig
from bert_jax.convert import hf, rules
from bert_jax.convert.families import FAMILIES
from bert_jax.inference import model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.inputs import EncoderInputs

UNREAD = {'mask_emb', 'seg_embed', 'r_s_bias'}  # tensors of XLNet
GRADIENTS = 1e-4  # the largest relative difference of an array's gradient
BERT = {
    'vocab_size': 97,
    'hidden_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'intermediate_size': 48,
    'max_position_embeddings': 40,
}
ROBERTA = BERT | {'type_vocab_size': 1, 'layer_norm_eps': 1e-5}
DISTILBERT = {
    'vocab_size': 97,
    'dim': 32,
    'n_layers': 2,
    'n_heads': 4,
    'hidden_dim': 48,
    'max_position_embeddings': 40,
}
XLM = {
    'vocab_size': 97,
    'emb_dim': 32,
    'n_layers': 2,
    'n_heads': 4,
    'max_position_embeddings': 40,
}
ALBERT = BERT | {'embedding_size': 16, 'num_hidden_layers': 3}
MODERNBERT = BERT | {'num_hidden_layers': 4, 'local_attention': 8}
XLNET = {'vocab_size': 97, 'd_model': 32, 'n_layer': 2, 'n_head': 4, 'd_inner': 48}
# Three configurations of transformers for each model_type.
SHAPES: Mapping[str, tuple[dict[str, Any], ...]] = {
    'bert': (
        BERT,
        BERT | {'hidden_act': 'gelu_new', 'num_attention_heads': 1, 'layer_norm_eps': 1e-3},
        BERT | {'hidden_act': 'relu', 'type_vocab_size': 1},
    ),
    'roberta': (
        ROBERTA,
        ROBERTA | {'pad_token_id': 3, 'hidden_act': 'relu'},  # the head's activation stays gelu
        ROBERTA | {'type_vocab_size': 2, 'hidden_act': 'gelu_new', 'num_attention_heads': 2},
    ),
    'xlm-roberta': (ROBERTA, ROBERTA | {'layer_norm_eps': 1e-3}, ROBERTA | {'hidden_size': 24}),
    'camembert': (ROBERTA, ROBERTA | {'layer_norm_eps': 1e-3}, ROBERTA | {'hidden_size': 24}),
    'electra': (
        BERT | {'embedding_size': 16},
        BERT | {'embedding_size': 32, 'hidden_act': 'relu'},
        BERT | {'embedding_size': 48, 'num_attention_heads': 2, 'layer_norm_eps': 1e-3},
    ),
    'distilbert': (
        DISTILBERT,
        DISTILBERT | {'activation': 'relu', 'sinusoidal_pos_embds': True},
        DISTILBERT | {'n_layers': 3, 'n_heads': 2},
    ),
    'albert': (
        ALBERT,
        ALBERT | {'hidden_act': 'gelu', 'embedding_size': 32, 'layer_norm_eps': 1e-3},
        ALBERT | {'hidden_act': 'relu', 'embedding_size': 48, 'num_attention_heads': 2},
    ),
    'xlm': (
        XLM,
        XLM | {'n_langs': 3, 'gelu_activation': False, 'layer_norm_eps': 1e-3},
        XLM | {'n_langs': 2, 'n_heads': 2, 'sinusoidal_embeddings': True},
    ),
    'flaubert': (
        XLM | {'layer_norm_eps': 1e-6},
        XLM | {'pre_norm': True, 'layerdrop': 0.2},
        XLM | {'pre_norm': True, 'n_layers': 3, 'gelu_activation': False},
    ),
    'modernbert': (
        MODERNBERT,
        MODERNBERT
        | {'norm_bias': True, 'attention_bias': True, 'mlp_bias': True, 'classifier_bias': True}
        | {'num_hidden_layers': 2, 'norm_eps': 1e-3, 'hidden_activation': 'relu'},
        MODERNBERT
        | {'num_hidden_layers': 3, 'global_attn_every_n_layers': 1, 'global_rope_theta': 900.0}
        | {'classifier_activation': 'relu', 'classifier_pooling': 'mean'},
    ),
    'xlnet': (
        XLNET,
        XLNET | {'ff_activation': 'relu', 'clamp_len': 6, 'layer_norm_eps': 1e-3},
        XLNET | {'ff_activation': 'gelu_new', 'n_head': 2, 'n_layer': 3},
    ),
}


def their_model(kind: str, number: int, head: str = 'MaskedLM', **changes: Any) -> Any:
    """A random model of transformers. Norms and biases are random, too. changes: of its shape."""
    values: dict[str, Any] = dict(SHAPES[kind][number])
    if head.endswith('Classification') and 'id2label' not in changes:
        values['num_labels'] = 3
    if kind == 'modernbert':
        ids = ('pad_token_id', 'bos_token_id', 'eos_token_id', 'cls_token_id', 'sep_token_id')
        values |= dict.fromkeys(ids, None)  # the defaults are not in so small a vocabulary
    torch.manual_seed(number)
    config = transformers.AutoConfig.for_model(kind, **values | changes)
    if kind == 'xlnet' and head == 'MaskedLM':
        head = 'CausalLM'  # the name of its class with an LM head
    model = getattr(transformers, f'AutoModelFor{head}' if head else 'AutoModel').from_config(
        config
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
            assert torch.isfinite(parameter).all(), name
    return model.eval()


def ours(model: Any, folder: pathlib.Path) -> Pretrained:
    """Returns the model in bert_jax that is converted from a folder of transformers."""
    model.save_pretrained(folder)
    source = hf.read(folder)
    labels = tuple(source.task.get('labels', ()))
    abstract = model_dir.abstract_params(source.model, source.heads, max(len(labels), 1))
    shapes = {
        path: leaf.shape for path, leaf in traverse_util.flatten_dict(abstract, sep='/').items()
    }
    arrays, needed = rules.to_ours(source.tensors, shapes, source.rules)
    assert needed == source.tensors.keys() and not source.notes
    params = traverse_util.unflatten_dict(arrays, sep='/')
    config = dataclasses.replace(source.model, scan_unroll=1)  # compiles faster
    return Pretrained(config, source.heads, params, None, labels=labels)


def batch(config: ModelConfig, rows: int = 3, length: int = 24) -> dict[str, np.ndarray]:
    """Random ids in rows of different lengths, with token types or languages if the model has them.

    The ids are greater than those of padding, of which transformers computes positions. Padding is
    on the left if the model summarizes a row by its last token, as transformers expects it.
    """
    random = np.random.default_rng(0)
    sizes = np.resize([length, length // 2, length - 5], rows)
    mask = (np.arange(length) < sizes[:, None]).astype(np.int32)
    mask = mask[:, ::-1].copy() if config.summary_type == 'last' else mask
    pad = max(config.position_offset - 1, 0)
    ids = np.where(mask, random.integers(4, config.vocab_size, (rows, length)), pad)
    types = np.sort(random.integers(0, max(config.type_vocab_size, 1), (rows, length))) * mask
    return {
        'input_ids': ids.astype(np.int32),
        'attention_mask': mask,
        'token_type_ids': types.astype(np.int32),
    }


def their_inputs(kind: str, config: ModelConfig, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    tensors = {name: torch.tensor(value).long() for name, value in inputs.items()}
    types = tensors.pop('token_type_ids')
    if config.type_vocab_size:
        tensors['langs' if kind in ('xlm', 'flaubert') else 'token_type_ids'] = types
    return tensors


def apply(model: Pretrained, inputs: dict[str, np.ndarray], params: Any = None) -> Any:
    encoded = EncoderInputs.from_batch({name: jnp.asarray(x) for name, x in inputs.items()})
    return model.model.apply({'params': params or model.params}, encoded)


def gradient_gap(mine: Pretrained, gradients: Any, theirs: Any) -> float:
    """The largest relative difference of an array's gradient."""
    flat = dataclasses.replace(mine, params=gradients).arrays()
    named = {
        name: parameter.grad.numpy()
        for name, parameter in theirs.named_parameters(remove_duplicate=False)
        if parameter.grad is not None
    }
    shapes = {path: array.shape for path, array in flat.items()}
    wanted, needed = rules.to_ours(named, shapes, FAMILIES[mine.config.model_type].rules)
    # Parameters that one stream, or rows without segments, do not read have no gradient.
    assert {name.split('.')[-1] for name in needed - named.keys()} <= UNREAD, needed - named.keys()
    gaps = {}
    for path, array in flat.items():
        if path not in wanted:
            assert not np.any(array), path
            continue
        here, there = array, wanted[path]
        if path.endswith('query_key_value/bias'):  # the key's bias has no influence
            here, there = here[:, :, [0, 2]], there[:, :, [0, 2]]
        gaps[path] = float(np.linalg.norm(here - there) / np.linalg.norm(there))
    return max(gaps.values())

"""Files config.json of published models, without the sizes. bert_jax knows all of their keys.

Most keys of these files have no effect. Each family has files of several years, as the versions of
transformers wrote them.
"""

import json
import pathlib
from typing import Any

import pytest
from kinds import tiny

from bert_jax.convert import hf
from bert_jax.convert.families import FAMILIES
from bert_jax.convert.foreign import read_model
from bert_jax.models.presets import PRESETS

SIZES = {
    kind: family.values(tiny(next(p for p in PRESETS.values() if p.model_type == kind)))
    for kind, family in FAMILIES.items()
}
# Keys that transformers 2 wrote into every config.json.
GENERATION = """
    "bad_words_ids": null, "do_sample": false, "early_stopping": false, "eos_token_ids": 0,
    "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0,
    "num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0, "temperature": 1.0,
    "top_k": 50, "top_p": 1.0, "output_attentions": false, "output_hidden_states": false,
    "output_past": true, "pruned_heads": {}, "torchscript": false, "use_bfloat16": false,
    "is_decoder": false, "finetuning_task": null, "num_labels": 2, "_num_labels": 2, "prefix": null,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "xla_device": null, "decoder_start_token_id": null, "task_specific_params": null,
    "adapters": {"adapters": {}, "config_map": {}}, "is_encoder_decoder": false
"""
V4 = """
    "gradient_checkpointing": false, "position_embedding_type": "absolute", "use_cache": true,
    "torch_dtype": "float32", "transformers_version": "4.8.2",
    "_name_or_path": "roberta-base", "problem_type": "multi_label_classification"
"""
V5 = '"dtype": "float32", "transformers_version": "5.0.0", "use_cache": true, "is_decoder": false'
POOLER = """
    "directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3, "pooler_size_per_head": 128, "pooler_type": "first_token_transform",
    "classifier_dropout": null
"""
TINYBERT = '"cell": {}, "pre_trained": "", "structure": []'
CROSS_ENCODER = """
    "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
    "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}
"""
ALBERT = """
    "down_scale_factor": 1, "gap_size": 0, "layers_to_keep": [], "net_structure_type": 0,
    "num_memory_blocks": 0, "output_past": true, "tokenizer_class": "BertTokenizer"
"""
DISTILBERT = '"finetuning_task": "sst-2", "output_past": true, "tie_weights_": true'
ELECTRA = """
    "summary_activation": "gelu", "summary_last_dropout": 0.1, "summary_type": "first",
    "summary_use_proj": true
"""
XLM = """
    "bos_index": 0, "eos_index": 1, "pad_index": 2, "unk_index": 3, "mask_index": 5, "asm": false,
    "mask_token_id": 0, "embed_init_std": 0.02, "end_n_top": 5, "start_n_top": 5, "max_vocab": -1,
    "min_count": 0, "output_past": true, "same_enc_dec": true, "share_inout_emb": true,
    "sinusoidal_embeddings": false, "summary_activation": null, "summary_type": "first",
    "summary_proj_to_labels": true, "tokens_per_batch": -1, "word_blank": 0, "word_dropout": 0,
    "word_keep": 0.1, "word_mask": 0.8, "word_pred": 0.15, "word_rand": 0.1, "word_shuffle": 0
"""
FLAUBERT = """
    "amp": 1, "bptt": 512, "clip_grad_norm": 5, "encoder_only": true, "fp16": true,
    "group_by_size": true, "lang_id": 0, "langs": ["fr"], "lg_sampling_factor": -1, "lgs": "fr",
    "max_batch_size": 0, "mlm_steps": [["fr", null]], "sample_alpha": 0, "use_apex": true
"""
MODERNBERT = """
    "deterministic_flash_attn": false, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
    "gradient_checkpointing": false, "initializer_cutoff_factor": 2.0, "layer_norm_eps": 1e-05,
    "position_embedding_type": "sans_pos", "reference_compile": true, "sparse_prediction": false,
    "repad_logits_with_grad": false, "sparse_pred_ignore_index": -100, "cls_token_id": 1
"""
XLNET = """
    "d_head": 16, "end_n_top": 5, "start_n_top": 5, "mem_len": null, "reuse_len": null,
    "task_specific_params": {"text-generation": {"do_sample": true}}, "untie_r": true,
    "summary_type": "last", "output_past": true
"""


@pytest.mark.parametrize(
    ('kind', 'keys'),
    [
        *((kind, keys) for kind in FAMILIES for keys in (GENERATION, V4, V5)),
        *(('bert', keys) for keys in (POOLER, TINYBERT, CROSS_ENCODER)),
        ('albert', ALBERT),
        ('distilbert', DISTILBERT),
        ('electra', ELECTRA),
        ('xlm', XLM),
        ('flaubert', XLM),
        ('flaubert', FLAUBERT),
        ('modernbert', MODERNBERT),
        ('xlnet', XLNET),
    ],
)
def test_all_keys_are_known(tmp_path: pathlib.Path, kind: str, keys: str) -> None:
    path = tmp_path / 'config.json'
    _, expected = read_model(SIZES[kind], path)
    values: dict[str, Any] = SIZES[kind] | json.loads('{' + keys + '}')
    path.write_text(json.dumps(values))
    family, model = read_model(values, path)
    if kind in ('bert', 'roberta', 'xlm-roberta', 'camembert', 'electra'):
        assert model == expected
    assert list(hf._notes_about_keys(values, family, path)) == []

"""Describes a family of models in Hugging Face transformers: its config.json, tensors and
classes."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bert_jax.config import ModelConfig, architecture_fields, model_from_dict
from bert_jax.convert.rules import Rules
from bert_jax.models.presets import PRESETS

# Hugging Face and google-research publish the same weights with hidden_act=gelu. For this name,
# transformers computes the exact function, and google-research/bert, since 2019, the tanh
# approximation. The conversion uses the exact function.
ACTIVATIONS = {
    'gelu': 'gelu',
    'gelu_python': 'gelu',
    'gelu_new': 'gelu_new',
    'gelu_accurate': 'gelu_new',
    'gelu_fast': 'gelu_new',
    'gelu_pytorch_tanh': 'gelu_new',
    'gelu_python_tanh': 'gelu_new',
    'relu': 'relu',
}
REQUIRED = (
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
)
DROPOUTS = ('classifier_dropout', 'tagger_dropout', 'span_dropout')
NULLABLE = (*DROPOUTS, 'tie_word_embeddings')  # null has the effect of a missing key
# Keys of config.json that do not change what an encoder computes, in families whose `keys` and
# `fixed` do not have them. The table of positions is in the checkpoint, even if it was filled with
# sinusoids. lang_id is the default language, which `convert.hf` reads. transformers reads norm_eps
# of ModernBERT, and not layer_norm_eps. Keys such as summary_type are settings of the head for
# multiple choice. Keys such as lg_sampling_factor are settings of the authors' training of XLM.
_INERT_KEYS = """
    _name_or_path _num_labels architectures attn_implementation bad_words_ids
    begin_suppress_tokens bos_token_id chunk_size_feed_forward cls_token_id
    decoder_start_token_id directionality diversity_penalty do_sample dtype early_stopping
    embed_init_std end_n_top eos_token_id eos_token_ids exponential_decay_length_penalty
    finetuning_task forced_bos_token_id forced_eos_token_id gap_size gradient_checkpointing
    id2label init_std initializer_cutoff_factor is_composition keep_multilingual label2id
    layers_to_keep length_penalty mask_index mask_token_id max_length max_position max_vocab
    min_count min_length model_type net_structure_type no_repeat_ngram_size num_beam_groups
    num_beams num_labels num_memory_blocks num_return_sequences output_attentions
    output_hidden_states output_past output_scores pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type prefix
    problem_type reference_compile remove_invalid_values repetition_penalty return_dict
    return_dict_in_generate sep_token_id start_n_top suppress_tokens task_specific_params
    temperature tf_legacy_loss tokenizer_class top_k top_p torch_dtype torchscript
    transformers_version typical_p unk_index unk_token_id use_bfloat16 use_cache bos_index
    eos_index pad_index down_scale_factor language tie_weights_ bert_jax_task
    bert_jax_hidden_act deterministic_flash_attn sparse_prediction sparse_pred_ignore_index
    repad_logits_with_grad xla_device auto_map sentence_transformers
    sbert_ce_default_activation_function sinusoidal_pos_embds sinusoidal_embeddings
    position_embedding_type max_position_embeddings layer_norm_eps layer_types rope_parameters
    summary_activation summary_last_dropout summary_type summary_use_proj lang2id id2lang lang_id
    d_head init init_range initializer use_mems_eval use_mems_train amp bptt clip_grad_norm
    encoder_only fp16 group_by_size langs lg_sampling_factor lgs max_batch_size mlm_steps
    mono_dataset optimizer para_dataset sample_alpha same_enc_dec share_inout_emb tokens_per_batch
    use_apex word_blank word_dropout word_keep word_mask word_mask_keep_rand word_pred word_rand
    word_shuffle
"""
INERT = frozenset(_INERT_KEYS.split())
# Keys for which a value other than these changes what any family computes.
ALWAYS_FIXED: Mapping[str, tuple[Any, ...]] = {
    'is_decoder': (False,),
    'add_cross_attention': (False,),
    'is_encoder_decoder': (False,),
    'pruned_heads': ({},),
    'quantization_config': (),
}
# The default of `Family.fixed`.
POSITIONS = {'position_embedding_type': ('absolute',)}
ALIASES = {'n_words': 'vocab_size', 'n_token': 'vocab_size'}  # older name -> name of a key
# Keys of ModernBERT: rates of dropout in places where bert_jax has no dropout.
NO_DROPOUT = ('embedding_dropout', 'attention_dropout', 'mlp_dropout')


def no_changes(_: Any) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models in Hugging Face transformers, an entry of FAMILIES.

    prefix: the start of the names of the encoder's tensors, which a folder of the bare encoder
    lacks. rules: names of tensors. classes: the classes of transformers, with the heads that they
    have; the first is the bare encoder.

    keys: maps fields of ModelConfig to keys of config.json. missing: the values of fields whose key
    is missing in a config.json, if they differ from those of the published models. fixed: maps keys
    to the values that bert_jax supports; the first value is written. read: returns more fields from
    the values of a config.json. write: returns more values from a ModelConfig. special_ids: the ids
    of special tokens of the published models.
    """

    model_type: str
    prefix: str
    rules: Rules
    classes: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, str]
    missing: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=lambda: POSITIONS)
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = no_changes
    write: Callable[[ModelConfig], dict[str, Any]] = no_changes
    special_ids: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'pad_token_id': 0})

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of fields that a config.json does not set."""
        published = next(p for p in PRESETS.values() if p.model_type == self.model_type)
        return {**dataclasses.asdict(published), **self.missing}

    @property
    def words(self) -> str:
        """The tensor of the word embeddings that the masked-LM decoder may be tied to."""
        return self._tensor('embeddings/word_embeddings')

    @property
    def decoder(self) -> str:
        """The tensor of the masked-LM decoder."""
        return self._tensor('masked_lm_decoder')

    @property
    def bias(self) -> str:
        """The tensor of the masked-LM decoder's bias."""
        return self._tensor('masked_lm_bias')

    @property
    def decoder_bias(self) -> str:
        """The tensor beside the decoder's table that also has the decoder's bias. In some families
        it is the same tensor as `bias`; in others a checkpoint may have the bias twice."""
        return f'{self.decoder.removesuffix("weight")}bias'

    def _tensor(self, ours: str) -> str:
        """The tensor of the last parameter whose path ends with `ours`. In an encoder-decoder, this
        is the one of the decoder."""
        return [rule.theirs for rule in self.rules if rule.ours.endswith(ours)][-1]

    def model(self, values: Mapping[str, Any]) -> ModelConfig:
        """The model that a config.json describes.

        Raises ValueError naming a key that is missing, or whose value bert_jax does not compute.
        """
        values = {ALIASES.get(key, key): value for key, value in values.items()}
        for key, allowed in {**ALWAYS_FIXED, **self.fixed}.items():
            value = values.get(key)
            if value is not None and value not in allowed:
                only = ' or '.join(map(repr, allowed)) or 'no such key'
                raise ValueError(f'{key} is {value!r}; bert_jax supports only {only}')
        required = [self.keys[field] for field in REQUIRED if field in self.keys]
        if absent := [key for key in required if key not in values]:
            names = ', '.join(absent)
            raise ValueError(f'it has no {names}; is it the configuration of a {self.model_type}?')
        fields = dict(self.defaults)
        for field, key in self.keys.items():
            if key in values and (values[key] is not None or field not in NULLABLE):
                fields[field] = values[key]
        fields |= self.read(values)
        act = fields['hidden_act']
        fields['hidden_act'] = ACTIVATIONS.get(str(act), act)
        return model_from_dict(fields)

    def values(self, model: ModelConfig, heads: Iterable[str] = ()) -> dict[str, Any]:
        """The values of a config.json that describes a model with these heads.

        Raises ValueError naming a field whose value the family does not have.
        """
        values = {'model_type': self.model_type}
        values |= {key: allowed[0] for key, allowed in self.fixed.items() if allowed}
        for field, key in self.keys.items():
            value = getattr(model, field)
            if field in DROPOUTS:
                if key in values and field.removesuffix('_dropout') not in heads:
                    continue
                if value < 0:  # null, unless the published models of the family have a number
                    value = model.hidden_dropout_prob if self.defaults[field] >= 0 else None
            values[key] = value
        values |= self.write(model)
        back = self.model(values)
        for field in architecture_fields():
            wanted, written = getattr(model, field), getattr(back, field)
            if wanted != written:
                raise ValueError(
                    f'config.model.{field} is {wanted!r}, but a model of the type '
                    f'{self.model_type!r} has {written!r} in transformers'
                )
        ids = self.special_ids.items()
        return {name: i if i < model.vocab_size else None for name, i in ids} | values

    def unknown(self, values: Mapping[str, Any]) -> list[str]:
        """The keys of a config.json that bert_jax does not know and whose values are not empty."""
        known = {*INERT, *ALWAYS_FIXED, *ALIASES, *self.keys.values(), *self.fixed}
        known |= {*self.write(self.model(values))}
        known |= {key for key in NO_DROPOUT if not values.get(key)}
        return sorted(key for key in set(values) - known if not _is_empty(values[key]))


def same_names(*names: str) -> dict[str, str]:
    """Maps each name to itself, for `Family.keys`: the keys have the names of the fields."""
    return {name: name for name in names}


def _is_empty(value: Any) -> bool:
    """Returns whether a value of a config.json is null, empty, or an object of empty values."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return value is None or value == '' or value == []


def classes(
    stem: str,
    base: tuple[str, ...] = (),
    classifier: tuple[str, ...] = ('pooler', 'classifier'),
    masked_lm: str = 'ForMaskedLM',
    span: str = 'ForQuestionAnswering',
) -> dict[str, tuple[str, ...]]:
    """The classes of a family whose names begin with `stem`, with their heads."""
    return {
        f'{stem}Model': base,
        f'{stem}{masked_lm}': ('masked_lm',),
        f'{stem}ForSequenceClassification': classifier,
        f'{stem}ForTokenClassification': ('tagger',),
        f'{stem}{span}': ('span',),
    }

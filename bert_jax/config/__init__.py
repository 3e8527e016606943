"""The configuration: dataclasses, their checks and the command line."""

from bert_jax.config.checks import validate as validate
from bert_jax.config.construction import from_dict as from_dict
from bert_jax.config.construction import from_saved as from_saved
from bert_jax.config.construction import model_from_dict as model_from_dict
from bert_jax.config.keys import architecture_fields as architecture_fields
from bert_jax.config.keys import choices as choices
from bert_jax.config.keys import free_on_resume as free_on_resume
from bert_jax.config.keys import refuse_unread as refuse_unread
from bert_jax.config.keys import unread_keys as unread_keys
from bert_jax.config.model import ModelConfig as ModelConfig
from bert_jax.config.schema import Config as Config
from bert_jax.config.schema import DataConfig as DataConfig
from bert_jax.config.schema import DistillConfig as DistillConfig
from bert_jax.config.schema import EvalConfig as EvalConfig
from bert_jax.config.schema import MeshConfig as MeshConfig
from bert_jax.config.schema import OptimConfig as OptimConfig
from bert_jax.config.schema import Phase as Phase
from bert_jax.config.schema import TrainConfig as TrainConfig
from bert_jax.config.schema import default as default
from bert_jax.config.schema import finetuning as finetuning

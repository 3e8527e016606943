"""The teacher of the objective 'distill': its parameters, and which of them initialize a
student."""

import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from bert_jax.config import Config, DistillConfig, ModelConfig
from bert_jax.config.console import plural
from bert_jax.models.heads import heads_in
from bert_jax.models.parameters import ParameterInfo
from bert_jax.tasks.distillation import DistillTask
from bert_jax.training import initialization
from bert_jax.training.checkpoint import saved_params
from bert_jax.training.initialization import flatten, initial_params, spread_layers, unflatten
from bert_jax.training.train_step import Step, TrainState

LOG = logging.getLogger('bert_jax.training.teacher')


def load(source: epath.PathLike, step: Step, key: jax.Array) -> Any:
    """The teacher's float32 parameters, with the shardings of `step.frozen`.

    key: the random key for padding rows of the vocabulary tables. A student that starts from the
    teacher takes these rows, too. Raises ValueError as `initial_params` does.
    """
    fresh = dataclasses.replace(step, frozen=_as_saved(step)).init_frozen(key)
    return initial_params(source, fresh, step.frozen_info)


def check(source: epath.PathLike, step: Step) -> None:
    """Raises ValueError if `load` would raise it. Reads no arrays."""
    if 'masked_lm' not in heads_in(saved_params(source)):
        raise ValueError(
            f'config.distill.teacher={source} has no masked-LM head, and the student learns its '
            'scores; choose a model that was pretrained, or adapted, with masked words'
        )
    initialization.check(source, _as_saved(step), step.frozen_info)


def _as_saved(step: Step) -> Any:
    return jax.tree.map(lambda leaf: leaf.update(dtype=jnp.float32), step.frozen)


def starts_student(config: Config) -> bool:
    """Returns whether a new run starts from the teacher. Otherwise it starts from config.init_from,
    or from random values."""
    return config.distill.init_from_teacher and not config.init_from


def begin(config: Config, step: Step, state: TrainState, key: jax.Array) -> tuple[TrainState, Any]:
    """Returns the state and the values of `step.frozen`, which are () without a teacher.

    The state of a new run receives the parameters that the student takes from the teacher. key: see
    `load`.
    """
    if not step.frozen:
        return state, ()
    assert isinstance(step.task, DistillTask), step.task
    params = load(config.distill.teacher, step, key)
    if starts_student(config) and not int(state.step):
        layers = chosen_layers(config.model, step.task.teacher_config, config.distill)
        started = student_params(state.params, step.info, params, layers)
        state = dataclasses.replace(state, params=started)
    return state, jax.tree.map(lambda x, form: x.astype(form.dtype), params, step.frozen)


def chosen_layers(student: ModelConfig, teacher: ModelConfig, given: DistillConfig) -> list[int]:
    """The teacher's layers that the student's layers start from.

    By default they are spread evenly from the first layer to the last: 0, 2, 4, 7, 9 and 11 of 12,
    as in DistilBERT. Raises ValueError if config.distill.layers does not fit the two models.
    """
    needed, count = student.num_hidden_layers, teacher.num_hidden_layers
    if not given.layers:
        if needed > count:
            raise ValueError(
                f'config.model.num_hidden_layers is {needed}, but the teacher has '
                f'{plural(count, "layer")}; choose the layers, for example '
                '--config.distill.layers="(0,0,1)", or set --config.distill.init_from_teacher=False'
            )
        return spread_layers(needed, count)
    layers = [int(number) for number in given.layers]
    if len(layers) != needed or max(layers) >= count:
        raise ValueError(
            f'config.distill.layers is {tuple(layers)}; expected {needed} numbers, one for each '
            f'layer of the student, from 0 to {count - 1}, the last layer of the teacher'
        )
    return layers


def student_params(fresh: Any, info: Any, teacher: Any, layers: list[int]) -> Any:
    """`fresh` with the teacher's arrays of the same name and shape, and some of its layers.

    info: the student's tree of `ParameterInfo`. layers: see `chosen_layers`. Logs what is taken,
    and which parameters keep their fresh values.
    """
    theirs, facts, values = flatten(teacher), flatten(info), flatten(fresh)
    kept = list[str]()
    for path, value in values.items():
        start = _start(facts[path], theirs.get(path), len(value), layers)
        if start is None or start.shape != value.shape:
            kept.append(path)
        else:
            # A copy, because a training step frees the memory of the student's old parameters.
            values[path] = jax.device_put(jnp.copy(start), value.sharding)
    numbers = ', '.join(map(str, layers))
    LOG.info('the layers of the student start from these layers of the teacher: %s', numbers)
    if kept:
        LOG.info('fresh, because the teacher has no such array: %s', ', '.join(sorted(kept)))
    if unused := sorted(theirs.keys() - values.keys()):
        LOG.info('not taken from the teacher: %s', ', '.join(unused))
    return unflatten(values)


def _start(fact: ParameterInfo, theirs: Any, rows: int, layers: list[int]) -> Any:
    """The teacher's array for a parameter of the student; None if the teacher has none.

    rows: the size of the student's axis 0, which is 1 for layers that share their parameters.
    """
    if theirs is None or fact.part != 'layers':
        return theirs
    last = len(theirs) - 1  # 0 if the teacher's layers share their parameters
    return theirs[jnp.array([min(number, last) for number in layers[:rows]])]

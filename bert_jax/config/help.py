"""The text of --help: how a command is called, its flags, and the keys of the configuration.

The descriptions of the keys are the comments beside the fields of the dataclasses.
"""

import dataclasses
import functools
import inspect
import re
import sys
import textwrap
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from bert_jax.config import Config, commands, fields, keys, presets, schema
from bert_jax.config.fields import Fact

PROCESSES = ('distributed', 'coordinator', 'num_processes', 'process_id')
WIDTH, COLUMN = 80, 28
KIND_NOTES = {Fact.PRETRAINING: 'Only in pretraining.', Fact.FINETUNING: 'Only in fine-tuning.'}
TYPES = {int: 'an integer', float: 'a number', bool: 'true or false'}
FLAG_TYPES = {'int': 'N', 'float': 'X'}
DEFAULTS_HEADING = """
Keys of the configuration, their defaults, and [the allowed values]. Set one
with --config.SECTION.KEY=VALUE, as in --config.optim.learning_rate=1e-4. If
--config=NAME stands before --help, the values of that configuration are listed,
and only the keys that its kind of run reads."""
VALUES_HEADING = """
Keys that this run reads, their values, and [the allowed values]:"""


def text(module: str, doc: str, flag_values: flags.FlagValues, values: ConfigDict | None) -> str:
    """The text that --help prints for a command.

    module: the name of its module, and doc its docstring. flag_values: its flags. values: those of
    the configuration that --config names; None shows the defaults.
    """
    found = _flags_of_package(flag_values)
    own = {name: flag for name, flag in found.items() if name not in PROCESSES}
    name, module = commands.name_of(module), module.removesuffix('.__main__')
    lines = [f'bert_jax {name}, also python -m {module}', ''] if name else []
    lines += [_wrapped(doc), '', 'Flags']
    if own.pop('config', None) is not None:
        lines.append(_entry('--config=NAME|FILE', 'A file, or the name of one in configs/:'))
        lines += [_entry(f'  {name}', line) for name, line in presets.descriptions().items()]
    lines += map(_flag, own.values())
    if others := [found[name] for name in PROCESSES if name in found]:
        lines += ['', 'Flags for several processes', *map(_flag, others)]
    if 'config' in found:
        lines += [DEFAULTS_HEADING if values is None else VALUES_HEADING, *_keys(values)]
    return '\n'.join(lines)


def _wrapped(doc: str) -> str:
    """A docstring with its paragraphs wrapped to the width. Commands keep their lines."""
    is_command = re.compile('^(?: |pip |bert_jax )', re.MULTILINE)
    return '\n\n'.join(
        part if is_command.search(part) else textwrap.fill(part, WIDTH)
        for part in doc.strip().split('\n\n')
    )


def _flags_of_package(flag_values: flags.FlagValues) -> dict[str, flags.Flag]:
    """The flags that this package defines, by name, in the order of their definition."""
    modules = flag_values.flags_by_module_dict()
    ours = [name for name in modules if name == sys.argv[0] or name.startswith('bert_jax')]
    return {flag.name: flag for name in ours for flag in modules[name] if '.' not in flag.name}


def _flag(flag: flags.Flag) -> str:
    options = getattr(flag.parser, 'enum_values', None)
    if flag.flag_type() == 'bool':
        name = f'--[no]{flag.name}'
    elif options:
        name = f'--{flag.name}={"|".join(options)}'
    else:
        name = f'--{flag.name}={FLAG_TYPES.get(flag.flag_type(), "TEXT")}'
    # Removes what absl adds to a description: the options, and how to give a list.
    words = re.sub(r'^<.*?>: |;\s+repeat this option.*', '', str(flag.help), flags=re.DOTALL)
    if flag.default not in (None, '', False) and 'efault' not in words:
        default = 'yes' if flag.default is True else flag.default
        words = f'{words.rstrip(".")}. Default: {default}.'
    return _entry(name, words)


def _entry(name: str, words: str) -> str:
    """A name with its description beside it, or below it if the name is long."""
    first, indent = f'  {name} '.ljust(COLUMN), ' ' * COLUMN
    lines = textwrap.wrap(words, WIDTH - COLUMN, break_on_hyphens=False) or ['']
    if len(first) > COLUMN:
        lines = [first, *(indent + line for line in lines)]
    else:
        lines = [first + lines[0], *(indent + line for line in lines[1:])]
    return '\n'.join(line.rstrip() for line in lines)


def _keys(values: ConfigDict | None) -> list[str]:
    """The lines that describe the keys, one or more for each key.

    If `values` are given, only the keys that their kind of run reads are listed.
    """
    defaults, comments = schema.default(), key_comments()
    lines, section, unread = list[str](), None, None
    if values is not None:
        unread = keys.UNREAD[schema.kind_of(values.data.task)]
    for key, field in keys.KEYS.items():
        if unread in fields.facts(field):
            continue
        above, _, name = key.rpartition('.')
        if above != section:
            section = above
            lines += ['', f'--config.{above}.' if above else '--config.']
        default = keys.get(defaults, key)
        value = default if values is None else keys.get(values, key)
        words = [comments[key]]
        if values is None:
            words += [KIND_NOTES[fact] for fact in fields.facts(field) if fact in KIND_NOTES]
        elif value != default:
            words.append(f'Default: {_shown(default)}.')
        lines.append(_entry(f'{name}={_shown(value)}', ' '.join([*words, _allowed(field)]).strip()))
    return lines


def _shown(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace(' ', '') if isinstance(value, tuple) else str(value)


def _allowed(field: dataclasses.Field) -> str:
    """The allowed values in brackets; '' if every text is allowed."""
    if options := fields.choices(field):
        return f'[{" | ".join(options)}]'
    expected = '; '.join(limit.expected for limit in fields.limits(field))
    expected = expected or TYPES.get(fields.value_type(field), '')
    return f'[{expected}]' if expected else ''


def key_comments() -> dict[str, str]:
    """The comment of each key, above and beside its field, as a sentence; '' if it has none."""
    sections = {field.name: field.type for field in dataclasses.fields(Config)}
    found = {}
    for key in keys.KEYS:
        section, _, name = key.rpartition('.')
        owner: Any = sections.get(section, Config)
        found[key] = _comments_of(owner)[name]
    return found


@functools.cache
def _comments_of(owner: type) -> dict[str, str]:
    """The comments of the fields of a dataclass, each as a sentence."""
    found, above = {}, list[str]()  # above: the comments in the lines above a field
    for line in inspect.getsource(owner).splitlines():
        code, _, comment = line.partition('# ')
        if field := re.match(r'    (\w+): ', code):
            found[field[1]] = _sentence(' '.join([*above, comment]).strip())
        above = [*above, comment] if comment and not code.strip() else []
    return found


def _sentence(comment: str) -> str:
    """The comment with a capital letter at its start and a full stop at its end; '' remains ''."""
    # A name such as vocab.txt keeps its small letter.
    if not re.search(r'[._]', comment.partition(' ')[0].rstrip('.')):
        comment = comment[:1].upper() + comment[1:]
    return f'{comment.rstrip(".")}.' if comment else ''

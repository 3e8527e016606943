"""Which module may import which: the package as rows, each over those that it stands on."""

import ast
import pathlib
import re

from tiny_model import ROOT

ROWS = (
    ('checks', 'rng', 'processes', 'replica_groups'),
    ('config',),
    ('batch', 'sharding', 'objectives', 'throughput', 'writers', 'hlo', 'topology', 'compiler'),
    ('host_metrics', 'squad_metrics'),
    ('models',),
    ('tasks',),
    ('optim', 'train_step'),
    ('checkpoint', 'evaluate', 'meter'),
    ('pretrained', 'initial', 'workdirs', 'plan_tables', 'breakdown'),
    ('train', 'inference', 'jobs', 'results', 'plot', 'command', 'export'),
    ('finetune', 'labelling', 'plan', 'benchmark'),
    ('outline',),
    ('preflight',),
    ('main', 'predict'),
)
ASIDE = {
    'data': {'config', 'batch', 'data'},
    'convert': {'config', 'models', 'checkpoint', 'pretrained', 'data', 'convert'},
}
# Within a row; for types alone.
SAME_ROW = {('sharding', 'batch'), ('checks', 'config')}
# May import data: these meet texts.
TEXTS = (
    *('main', 'pretrained', 'inference', 'jobs', 'finetune', 'labelling', 'predict'),
    *('outline', 'preflight'),
)


def imports(path: pathlib.Path) -> set[str]:
    """Modules of bert_jax that `path` imports, anywhere in it: 'config', 'data'..."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: relative import'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        found |= {name.split('.')[1] for name in names if name.startswith('bert_jax.')}
    return found


def test_imports_go_one_way() -> None:
    package = ROOT / 'bert_jax'
    rows = {name: row for row, names in enumerate(ROWS) for name in names}
    checked = 0
    for path in sorted(package.rglob('*.py')):
        name = path.relative_to(package).parts[0].removesuffix('.py')
        for other in imports(path):
            checked += 1
            if name in ASIDE:
                assert other in ASIDE[name], f'{path} imports {other}'
            else:
                assert name in rows, f'{path} has no row'
                allowed = other == name or (name, other) in SAME_ROW
                allowed |= name in TEXTS and other == 'data'
                assert allowed or rows.get(other, 99) < rows[name], f'{path} imports {other}'
            assert other != 'convert' or name == 'convert', f'{path} imports {other}'
        tensorflow = re.search(r'^\s*(import|from) tensorflow', path.read_text(), re.MULTILINE)
        assert not tensorflow or name in ('data', 'convert'), f'{path} imports TensorFlow'
    assert checked > 50
    for path in (ROOT / 'configs').glob('*.py'):
        assert imports(path) <= {'config'}, path


def test_only_checkpoint_knows_orbax() -> None:
    imported = re.compile(r'^\s*(import|from) orbax', re.MULTILINE)
    paths = (ROOT / 'bert_jax').rglob('*.py')
    assert [p.name for p in paths if imported.search(p.read_text())] == ['checkpoint.py']

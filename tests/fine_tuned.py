"""Fine-tuned models of every kind, with random parameters."""

from typing import Any

LABELS = ('bad', 'fine', 'good')
# name -> heads, labels and facts of a fine-tuned model. Each task head is there.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    'texts': (('pooler', 'classifier'), LABELS, {'pairs': False}),
    'pairs': (('pooler', 'classifier'), LABELS, {'pairs': True}),
    'label sets': (('pooler', 'classifier'), LABELS, {'pairs': False, 'multi_label': True}),
    'numbers': (('pooler', 'classifier'), (), {'pairs': False}),
    'tags': (('tagger',), ('O', 'B-PER', 'I-PER'), {}),
    'parts of speech': (('tagger',), ('O', 'NOUN', 'VERB'), {}),
    'questions': (('span',), (), {}),
    'translations': (('masked_lm', 'decoder'), (), {}),
    'questions without answers': (('span',), (), {'no_answer': True}),
}

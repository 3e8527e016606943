"""Continues the training of a published model on your own text: masked words alone.

    bert_jax train --config=adapt --config.init_from=DIR \\
        --config.data.corpus='text:mine/*.txt' --workdir=runs/mine

DIR: a Hugging Face folder, a folder of bert_jax convert, or a workdir. The architecture, the
vocabulary and its case come from there. The held-out loss is reported before the first step, too.
If each line of the text is a document, add --config.data.documents=line. To evaluate on text of
your own instead of a held-out share, add --config.data.eval_corpus='text:held_out.txt'.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.objective = 'mlm'
    config.data.holdout = 0.05
    config.data.cross_documents = False
    config.optim.learning_rate = 5e-5
    config.optim.warmup_steps = 100
    config.train.phases = ({'steps': 1_000, 'max_seq_length': 128, 'batch_size': 32},)
    config.train.log_every = 50
    config.train.eval_every = 250
    config.train.checkpoint_every = 250
    return config

"""The keys of the data: config.data.*, for both kinds of run."""

import dataclasses
from typing import Literal

from bert_jax.config.fields import (
    Count,
    Fact,
    Fraction,
    Positive,
    Probability,
    Share,
    Shares,
    setting,
)

_, _, FREE, PRETRAINING, FINETUNING = Fact
# The tasks of GLUE that have a training set, and the tasks that read files of the user.
GLUE_TASKS = ('cola', 'sst2', 'mrpc', 'stsb', 'qqp', 'mnli', 'qnli', 'rte', 'wnli')
FILE_TASKS = ('text', 'squad', 'ner', 'translate')
# The objectives that replace words by the mask token.
WITH_MASKS = ('mlm+nsp', 'mlm', 'mlm+sop', 'mlm+tlm', 'distill')


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The text, the vocabulary, and how examples are made of the text."""

    # 'pretrain', a GLUE task (sst2, mrpc, cola, all, ...), 'text', 'squad', 'ner' or 'translate'.
    task: str = 'pretrain'
    seed: int = 0  # for pairs, masks and the order of rows
    data_dir: str = setting('', FREE)  # the folder of TFDS; '' is its default
    cache_dir: str = setting('', FREE)  # for prepared stores; '' is $XDG_CACHE_HOME/bert_jax
    # A vocabulary's file (vocab.txt or a SentencePiece .model) or folder. '' trains a vocabulary in
    # pretraining and takes the vocabulary of init_from in fine-tuning.
    vocab_file: str = setting('', FREE)
    # The kind of a vocabulary that is trained: BERT's, RoBERTa's, ALBERT's, XLM's or FlauBERT's.
    tokenizer: Literal['wordpiece', 'byte_bpe', 'sentencepiece', 'xlm_bpe', 'flaubert_bpe'] = (
        setting('wordpiece', PRETRAINING, FREE)
    )
    # model.vocab_size is rounded up to a multiple of this, so that mesh.tensor divides it.
    pad_vocab_to_multiple_of: Positive = setting(1, FREE)
    lowercase: bool = setting(True, FREE)  # lowercases text; False for a cased model
    # 'true' removes accents and other combining marks. 'auto' removes them if text is lowercased,
    # as in BERT. In some scripts, such as Thai, the marks are vowels.
    strip_accents: Literal['auto', 'true', 'false'] = setting('auto', FREE)
    # The language of the text, an ISO 639 code: for the sentence splitter, and for XLM. '' is that
    # of init_from or of the vocabulary, and otherwise English.
    language: str = setting('', FREE)
    text_field: str = setting('text', FREE)  # in .jsonl records, TFDS examples, labelled files

    # 'text:FOLDER', 'text:GLOB', 'tfds:NAME[/CONFIG]:SPLIT', 'tokens:DIR' (a prepared store),
    # 'builtin' (English prose) or 'builtin:code' (Python's standard library). Several languages:
    # 'en=text:GLOB,fr=text:GLOB'.
    corpus: str = setting('builtin', PRETRAINING, FREE)
    # Objective 'mlm+tlm': pairs of sentences, 'en-fr=text:FILE' with a tab between the two, or
    # 'en-fr=text:FILE|text:FILE' with a sentence on each line. ',' separates several of them.
    parallel: str = setting('', PRETRAINING, FREE, 'mlm+tlm')
    # With several languages, the share of rows of each one is proportional to the size of its text,
    # raised to this power.
    language_alpha: Fraction = setting(0.7, PRETRAINING)
    # Objective 'mlm+tlm': share of rows of pairs.
    tlm_share: Share = setting(0.5, PRETRAINING, 'mlm+tlm')
    # The end of a document in a text file. 'heading' is a line such as '= Title =' in WikiText; it
    # begins the next document.
    documents: Literal['blank_line', 'line', 'file', 'heading'] = setting(
        'blank_line', PRETRAINING, FREE
    )
    # 'split' splits prose into sentences; 'line' takes each line as a sentence.
    sentences: Literal['split', 'line'] = setting('split', PRETRAINING, FREE)
    holdout: Probability = setting(0.02, PRETRAINING, FREE)  # share of documents for evaluation
    # A file or files of held-out text, in the form of `corpus`; '' holds out a share of `corpus`.
    eval_corpus: str = setting('', PRETRAINING, FREE)
    # Words to add to the vocabulary of init_from: 'word,word', or a file with a word on each line.
    add_tokens: str = setting('', PRETRAINING, FREE)
    masked_lm_prob: Probability = setting(0.15, PRETRAINING)  # the share of tokens to predict
    # Shares of the chosen tokens: become the mask token, become another token, stay as they are.
    mask_shares: Shares = setting((0.8, 0.1, 0.1), PRETRAINING, *WITH_MASKS)
    # If true, all pieces of a word are masked together, instead of single pieces.
    whole_word_masking: bool = setting(False, PRETRAINING, *WITH_MASKS)
    # The largest number of words that are masked together. More than 1 masks whole words, as in
    # ALBERT. With the objective 'plm', the largest number of tokens in a run of predicted tokens.
    max_ngram: Positive = setting(1, PRETRAINING)
    # Objectives 'mlm' and 'distill': if true, a row continues with the next document if one
    # document does not fill it.
    cross_documents: bool = setting(True, PRETRAINING, 'mlm', 'mlm+tlm', 'distill')
    # The probability that a row is made shorter than max_seq_length, because texts in use are often
    # short.
    short_seq_prob: Probability = setting(0.1, PRETRAINING, 'mlm+nsp', 'mlm+sop', 'plm')
    # Objectives 'mlm+nsp' and 'plm': the probability that the second text comes from another
    # document.
    random_next_prob: Probability = setting(0.5, PRETRAINING, 'mlm+nsp', 'plm')
    # Objective 'mlm+nsp': if true, a second text that is not random begins exactly where the first
    # text ends.
    adjacent_pairs: bool = setting(False, PRETRAINING, 'mlm+nsp')
    static_copies: Count = setting(0, PRETRAINING)  # 0: new pairs and masks in every epoch
    # Lines with [MASK], separated by line breaks, that each evaluation fills in. Held-out lines of
    # the corpus come after them.
    examples: str = setting('', PRETRAINING, FREE)

    # For GLUE: the task's folder, the folder that holds all tasks' folders, or 'tfds'.
    dir: str = setting('', FINETUNING, FREE, *GLUE_TASKS)
    # The labelled examples to train on: a file, a list of files with commas, or a pattern such as
    # 'reviews/*.csv'. eval_file and test_file may name several files, too.
    train_file: str = setting('', FINETUNING, FREE, *FILE_TASKS)
    # The labelled examples to evaluate on; '' holds out a tenth of train_file.
    eval_file: str = setting('', FINETUNING, FREE, *FILE_TASKS)
    test_file: str = setting('', FINETUNING, FREE, *FILE_TASKS)  # predicted at the end of training
    # The second text, if texts are paired.
    text_b_field: str = setting('text_b', FINETUNING, 'text')
    label_field: str = setting('label', FINETUNING, 'text')  # the column or key of the label
    # Tasks 'text' and 'ner', if labels in the files are numbers: their names in order: 'O,B-PER'.
    label_names: str = setting('', FINETUNING, 'text', 'ner')
    # Task 'translate': the columns or keys of the text that is read and of the text to write.
    source_field: str = setting('source', FINETUNING, 'translate')
    target_field: str = setting('target', FINETUNING, 'translate')
    # Task 'translate': the largest number of tokens in a generated text; 0: max_seq_length.
    max_target_length: Count = setting(0, FINETUNING, 'translate')
    regression: bool = setting(False, FINETUNING, 'text')  # labels of the task 'text' are numbers
    # If true, a text of the task 'text' may have several labels, or none. They are a list in .jsonl
    # files, and separated by label_separator in a cell of a table.
    multi_label: bool = setting(False, FINETUNING, 'text')
    label_separator: str = setting(',', FINETUNING)
    # The weights of labels in the training loss: '', 'balanced', or 'NAME=2,OTHER=0.5' (others: 1).
    class_weights: str = setting('', FINETUNING, *GLUE_TASKS, 'text', 'ner')
    # The share of train_file that is held out if eval_file is empty.
    eval_share: Share = setting(0.1, FINETUNING)
    # The column of train_file that says which rows are for train, dev and test, if it has one.
    split_field: str = setting('', FINETUNING, *FILE_TASKS)
    max_seq_length: int = setting(128, FINETUNING)  # tokens; a batch is padded to its longest row
    group_by_length: bool = setting(True, FINETUNING)  # less padding, but less random batches
    # Tokens between windows of a long context.
    doc_stride: Positive = setting(128, FINETUNING, 'squad')
    # Tokens of a question that are kept.
    max_query_length: Positive = setting(64, FINETUNING, 'squad')
    max_train_examples: Count = setting(0, FINETUNING)  # a random subset of this size; 0: all

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks; 'all' means each task of GLUE."""
        return GLUE_TASKS if self.task == 'all' else tuple(self.task.split(','))

    @property
    def strips_accents(self) -> bool | None:
        """`strip_accents` for `tokenizer.load`; None is 'auto'."""
        return {'auto': None, 'true': True, 'false': False}[self.strip_accents]

    def padded(self, vocab_size: int) -> int:
        """`vocab_size`, rounded up to a multiple of `pad_vocab_to_multiple_of`."""
        return -(-vocab_size // self.pad_vocab_to_multiple_of) * self.pad_vocab_to_multiple_of

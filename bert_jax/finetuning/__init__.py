"""Fine-tuning: tasks, their runs and scores, and predictions."""

# The suffixes of prediction files. They are in this module so that the command can check its flags
# without JAX.
SUFFIXES = ('.jsonl', '.csv', '.tsv', '.txt')

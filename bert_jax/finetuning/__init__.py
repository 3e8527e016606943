"""Fine-tuning: tasks, their runs and scores, and predictions."""

# The files of predictions; here, because the command reads it without JAX.
SUFFIXES = ('.jsonl', '.csv', '.tsv')

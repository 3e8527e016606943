"""Fine-tuning: tasks, their runs and scores, and predictions."""

"""PyTorch uses one thread, because its threads wait actively and other tests run beside it."""

import contextlib

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)

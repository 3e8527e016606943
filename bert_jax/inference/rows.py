"""The row formats of `data.row_format`, for packages that must not import `data`."""

from bert_jax.data.row_format import ROW_FORMATS as ROW_FORMATS
from bert_jax.data.row_format import RowFormat as RowFormat
from bert_jax.data.row_format import format_of as format_of

"""Counts the lines of the package: python tests/code_lines.py

A line of code has code on it: docstrings, comments and blank lines are not counted.
"""

import ast
import io
import pathlib
import tokenize
from collections import Counter

PACKAGE = pathlib.Path(__file__).parent.parent / 'bert_jax'
WITHOUT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
WITHOUT_CODE |= {tokenize.ENDMARKER}
WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """Returns the numbers of the lines of code in a module."""
    numbers = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in WITHOUT_CODE:
            numbers |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            numbers -= {*range(docstring.lineno, (docstring.end_lineno or 0) + 1)}
    return numbers


def main() -> None:
    code, lines = Counter[str](), Counter[str]()
    for path in sorted(PACKAGE.rglob('*.py')):
        source = path.read_text()
        folder = str(path.parent.relative_to(PACKAGE.parent))
        code[folder] += len(code_lines(source))
        lines[folder] += source.count('\n')
    print(f'{"folder":32}{"lines of code":>14}{"all lines":>12}')
    for folder in code:
        print(f'{folder:32}{code[folder]:14,}{lines[folder]:12,}')
    print(f'{"together":32}{code.total():14,}{lines.total():12,}')


if __name__ == '__main__':
    main()

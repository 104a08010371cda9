"""The Iterable API as the sandbox plays it; facts and their sources are in docs/sandbox.md and the docstrings."""

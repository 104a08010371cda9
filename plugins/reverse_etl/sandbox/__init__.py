"""A local server that behaves like the Iterable API, with faults on demand."""

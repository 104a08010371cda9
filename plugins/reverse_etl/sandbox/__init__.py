"""A local server that behaves like the APIs of Iterable and Customer.io, with faults on demand."""

"""The Customer.io Pipelines API of the sandbox."""

"""What the notebooks begin with: a client, and a look at what became of what it sent."""

from reverse_etl.notebooks.accounts import Account, open_customerio, open_iterable
from reverse_etl.notebooks.ledger import LedgerView, open_ledger

__all__ = ["Account", "LedgerView", "open_customerio", "open_iterable", "open_ledger"]

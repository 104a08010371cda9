"""The SQL database that remembers runs, outcomes, row fingerprints, quarantine and rate budgets: `ledger.ledger`."""

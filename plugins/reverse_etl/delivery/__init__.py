"""Sending calls and keeping one outcome for every row, whatever the destination."""

"""Iterable: client, authentication, payloads, response reading, limits and the Airflow hook."""

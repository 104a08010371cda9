"""Reverse ETL on Apache Airflow: rows of a SQL query become user profiles and events in engagement platforms."""

__version__ = "0.1.0"

"""Thin Airflow operators over the rooms of the package."""

"""The folder on the path of every Airflow process of this stack, for the module Airflow looks for by name."""

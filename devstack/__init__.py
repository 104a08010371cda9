"""The local stack behind make run, make up and the tests: database server, sandbox and Airflow in .local/."""

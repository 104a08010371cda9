"""Customer.io: client, authentication, messages, response reading, limits and the Airflow hook."""

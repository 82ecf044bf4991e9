"""PostgreSQL: engine, transactions, migrations. SQL itself lives in the features' repositories."""

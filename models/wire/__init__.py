"""Messages between agent and hub (pydantic). One module per direction; samples are kept in tests/fixtures/wire."""

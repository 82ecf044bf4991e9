"""The central hub: search, live relay, incident linking, and the ledger of every look."""

"""The edge agent: records, looks, seals and sends, within what the resident allows."""

"""Small domain-free tools: ids, clock, signed tokens, canonical JSON."""

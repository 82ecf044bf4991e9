"""What agent and hub agree on: wire messages, vocabulary, seals and the detector registry.

Imports nothing of ours, and nothing heavier than pydantic and cryptography.
"""

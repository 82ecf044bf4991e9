"""Small domain-free tools of the agent."""

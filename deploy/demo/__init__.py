"""The demo: a village of simulated cameras, an agent and the hub on embedded servers, through the same doors people use."""

"""Live pictures: WHIP in from agents, WHEP out to people, RTP forwarded packet by packet."""

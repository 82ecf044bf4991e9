"""Live pictures from the house: packets of the camera, as they are, to the hub by WHIP."""

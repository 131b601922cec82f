"""The paper's figures: each played in the simulator up to the situation that it shows, and drawn from there."""

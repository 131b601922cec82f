"""The same servers in virtual time: real threads one at a time, every choice drawn from a seed (§5, Fig. 3)."""

"""Exercises: a rule's function, or a whole module, is emptied in a scratch copy, to be written anew (§5 to §8)."""

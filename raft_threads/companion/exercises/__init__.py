"""Exercises: a rule's function, or a whole module of rules, is emptied in a scratch copy, to be written anew (§5-§8)."""

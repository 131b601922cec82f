"""Beside the paper: its rules as data, each with the function that is the rule, its tests, and what happens without."""

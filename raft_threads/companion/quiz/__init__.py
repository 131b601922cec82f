"""A quiz in the manner of the paper's user study (§9.1). Every answer is worked out by running the rules."""

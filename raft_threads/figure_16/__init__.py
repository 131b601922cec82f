"""Figure 16 of the paper, measured again: the time to detect and replace a crashed leader (§9.3). docs/figure-16.md."""

"""Raft on threads, blocking sockets and fsynced files, written to be read beside the paper.

"The paper" is *In Search of an Understandable Consensus Algorithm (Extended Version)*, Ongaro and Ousterhout, 2014.
`§5.3` and `Fig. 2` point into it; `Diss.` points into Ongaro's dissertation, *Consensus: Bridging Theory and Practice*.
`docs/companion/` says which file goes with which section.
"""

__version__ = "0.1.0"

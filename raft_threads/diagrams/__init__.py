"""Space-time diagrams of a trace, as SVG and as text: who said what to whom, and what became of it (§5)."""

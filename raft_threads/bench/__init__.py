"""How fast it is: real servers under load, beside the systems that people would pick instead (§9.3; Diss. §10)."""

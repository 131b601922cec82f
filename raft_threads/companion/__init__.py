"""What a reader has open beside the paper: figures, played; rules, with their code and tests; a quiz, exercises."""

"""What a reader has open beside the paper: figures, played; rules, with their code and their tests; quiz, exercises."""

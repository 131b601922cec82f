"""What a reader has open beside the paper: its figures, played; its rules, with their code and their tests; a quiz, exercises."""

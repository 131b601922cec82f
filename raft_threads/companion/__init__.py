"""What a reader has open beside the paper: its figures, played by the servers of this project."""

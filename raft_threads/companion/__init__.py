"""What a reader has open beside the paper: worked by the servers of this project."""

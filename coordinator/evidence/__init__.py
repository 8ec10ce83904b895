"""Evidence: what a finished study leaves behind, so that anyone can check it offline."""

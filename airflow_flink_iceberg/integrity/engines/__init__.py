"""What reads rows for the checks, and what computes on them."""

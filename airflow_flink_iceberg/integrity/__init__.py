"""Checks that prove, or say what cannot be proven: a suite of runners over one branch of one table."""

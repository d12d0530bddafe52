"""Reports for people and programs; importing this package imports none of the formats."""

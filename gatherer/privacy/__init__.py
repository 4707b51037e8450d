"""Erasing people, keeping them erased, and the access report."""

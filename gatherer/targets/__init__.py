"""Targets: one package per database engine, each of which applies batches to the same tables."""

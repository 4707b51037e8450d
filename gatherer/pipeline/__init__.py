"""The path from an inbox to the target: decode, filter, merge, apply. Also replay and export."""

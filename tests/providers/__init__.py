"""What providers promise: one contract for all of them, and one folder of payloads for each."""

"""The nouns: records, notifications, people, phone numbers, times, errors, and the merge rule. No input or output."""

"""The dashboard: calls live and past, what was said, what was heard, and where the time went."""

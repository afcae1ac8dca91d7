"""Call history as rows: what the recorder writes once a call is over, and the dashboard reads."""

"""What a server keeps: verdicts, crops for a time, labels of people, and who did what. In SQLite, or PostgreSQL for several."""

"""The embedded target: an SQLite file, used when no SQL Server is configured."""

"""Files on disk: locks, atomic writes, permissions, and the migrations of SQLite files."""

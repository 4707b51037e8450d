"""The SQL Server target: SQL Server 2016 or later, or Azure SQL."""

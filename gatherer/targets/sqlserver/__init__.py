"""The SQL Server target: rows where the site reports on them. SQL Server 2016 or later, or Azure SQL."""

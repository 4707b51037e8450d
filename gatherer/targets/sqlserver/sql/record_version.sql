IF NOT EXISTS (SELECT 1 FROM $(schema).schema_version WHERE number = $(number))
    INSERT INTO $(schema).schema_version (number, name, required) VALUES ($(number), N'$(name)', $(required));
GO

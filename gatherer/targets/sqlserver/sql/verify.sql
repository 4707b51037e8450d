-- After a commit: how many keys the transaction wrote, and how many of them are stored. Under XACT_ABORT, an error that
-- did not reach the client would have rolled everything back, and the commit would not have reported it.
SET NOCOUNT ON;
SELECT
    (SELECT COUNT(*) FROM #applied) AS applied,
    (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).response AS t ON t.[key] = a.[key]
     WHERE a.table_name = N'response')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).template_event AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'template_event')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).flow_event AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'flow_event')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).account_event AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'account_event')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).other_event AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'other_event')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).message_id_pair AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'message_id_pair')
    + (SELECT COUNT(*) FROM #applied AS a JOIN $(schema).rejected AS t ON t.[key] = a.[key]
       WHERE a.table_name = N'rejected') AS found;

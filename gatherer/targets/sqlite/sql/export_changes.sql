-- One row if anything was written to a table of facts, or to message_map, in the range: a step of [[after_run]] is then
-- taken. The other parameters are not looked at.
SELECT 1 AS changed
WHERE EXISTS (SELECT 1 FROM response WHERE commit_number > :commit_after AND commit_number <= :commit_to)
    OR EXISTS (SELECT 1 FROM other_event WHERE commit_number > :commit_after AND commit_number <= :commit_to)
    OR EXISTS (SELECT 1 FROM template_event WHERE commit_number > :commit_after AND commit_number <= :commit_to)
    OR EXISTS (SELECT 1 FROM flow_event WHERE commit_number > :commit_after AND commit_number <= :commit_to)
    OR EXISTS (SELECT 1 FROM account_event WHERE commit_number > :commit_after AND commit_number <= :commit_to)
    OR EXISTS (SELECT 1 FROM message_map_change WHERE commit_number > :map_after AND commit_number <= :map_to)

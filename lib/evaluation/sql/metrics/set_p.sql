-- SetP: the share of the whole list that is relevant.
SELECT query_id, found / length AS value
FROM (
  SELECT query_id, CAST(count(position) AS DOUBLE) AS found, CAST(count(*) AS DOUBLE) AS relevant
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
  GROUP BY query_id
) JOIN lists USING (query_id)
WHERE found > 0

-- SetAP: precision times recall of the whole list (trec_eval's set_map).
SELECT query_id, found * found / (length * relevant) AS value
FROM (
  SELECT query_id, CAST(count(position) AS DOUBLE) AS found, CAST(count(*) AS DOUBLE) AS relevant
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
  GROUP BY query_id
) JOIN lists USING (query_id)
WHERE found > 0

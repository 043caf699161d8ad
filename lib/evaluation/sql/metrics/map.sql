-- MAP@k: the precision at each relevant document among the first k, added up and divided by the
-- number of relevant documents, found or not.
SELECT query_id, sum(found / position) FILTER (WHERE position <= $k) / count(*) AS value
FROM (
  SELECT query_id, position,
    CAST(row_number() OVER (PARTITION BY query_id ORDER BY position NULLS LAST) AS DOUBLE) AS found
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
)
GROUP BY query_id

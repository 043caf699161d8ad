-- Rprec: the precision at position R, where R is the number of relevant documents, found or not.
SELECT query_id, count(*) FILTER (WHERE position <= relevant) / min(relevant) AS value
FROM (
  SELECT query_id, position, CAST(count(*) OVER (PARTITION BY query_id) AS DOUBLE) AS relevant
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
)
GROUP BY query_id

-- IPrec@recall: the best precision at any position where at least this share of the relevant
-- documents is found. As in trec_eval, the share of documents is rounded down after adding 0.9.
SELECT query_id, max(found / position) AS value
FROM (
  SELECT query_id, position,
    CAST(row_number() OVER (PARTITION BY query_id ORDER BY position NULLS LAST) AS DOUBLE) AS found,
    count(*) OVER (PARTITION BY query_id) AS relevant
  FROM qrels LEFT JOIN run USING (query_id, doc_id)
  WHERE relevance >= $level
)
WHERE position IS NOT NULL AND found >= floor($recall * relevant + 0.9)
GROUP BY query_id

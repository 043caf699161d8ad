-- nDCG@k: the gain of the first k documents, each grade divided by log2(position + 1), over the gain
-- of the best order of all judged documents (Järvelin and Kekäläinen 2002, with trec_eval's discount).
WITH ideal AS (
  SELECT query_id, relevance, row_number() OVER (PARTITION BY query_id ORDER BY relevance DESC) AS position
  FROM qrels
  WHERE relevance > 0
),
best AS (
  SELECT query_id, sum(relevance / log2(CAST(position + 1 AS DOUBLE))) AS gain
  FROM ideal
  WHERE position <= $k
  GROUP BY query_id
),
found AS (
  SELECT query_id, sum(relevance / log2(CAST(position + 1 AS DOUBLE))) AS gain
  FROM qrels JOIN run USING (query_id, doc_id)
  WHERE relevance > 0 AND position <= $k
  GROUP BY query_id
)
SELECT query_id, found.gain / best.gain AS value
FROM best JOIN found USING (query_id)

-- nDCG@k: the gain of the first k documents, each divided by log2(position + 1), over the gain of
-- the best order of all judged documents (Järvelin and Kekäläinen 2002, with trec_eval's discount).
-- The table `gains (relevance, gain)` has what each grade is worth: the grade itself as in
-- trec_eval, 2^grade - 1 as in gdeval, or what the name of the metric says.
WITH graded AS (
  SELECT query_id, doc_id, gain
  FROM qrels JOIN gains USING (relevance)
  WHERE gain > 0
),
ideal AS (
  SELECT query_id, gain, row_number() OVER (PARTITION BY query_id ORDER BY gain DESC) AS position
  FROM graded
),
best AS (
  SELECT query_id, sum(gain / log2(CAST(position + 1 AS DOUBLE))) AS gain
  FROM ideal
  WHERE position <= $k
  GROUP BY query_id
),
found AS (
  SELECT query_id, sum(gain / log2(CAST(position + 1 AS DOUBLE))) AS gain
  FROM graded JOIN run USING (query_id, doc_id)
  WHERE position <= $k
  GROUP BY query_id
)
SELECT query_id, found.gain / best.gain AS value
FROM best JOIN found USING (query_id)

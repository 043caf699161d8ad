-- Bpref: how rarely documents that are judged irrelevant stand above relevant ones. Unjudged
-- documents are passed over (Buckley and Voorhees 2004). This is trec_eval's definition, which
-- divides by the smaller of the numbers of relevant and irrelevant documents. Documents with grades
-- below 0 are pooled, but not judged.
WITH judged AS (
  SELECT query_id,
    CAST(sum(CASE WHEN relevance >= $level THEN 1 ELSE 0 END) AS DOUBLE) AS relevant,
    CAST(sum(CASE WHEN relevance >= $level THEN 0 ELSE 1 END) AS DOUBLE) AS irrelevant
  FROM qrels
  WHERE relevance >= 0
  GROUP BY query_id
),
found AS (
  SELECT query_id, relevance,
    CAST(sum(CASE WHEN relevance >= $level THEN 0 ELSE 1 END)
      OVER (PARTITION BY query_id ORDER BY position) AS DOUBLE) AS above
  FROM qrels JOIN run USING (query_id, doc_id)
  WHERE relevance >= 0
)
SELECT query_id,
  sum(CASE WHEN above = 0 THEN 1.0 ELSE 1.0 - least(above, relevant) / least(irrelevant, relevant) END)
    / min(relevant) AS value
FROM found JOIN judged USING (query_id)
WHERE relevance >= $level
GROUP BY query_id

-- infAP: average precision where a part of the pool was judged (Yilmaz and Aslam 2006, as in
-- trec_eval). Grade -1 means: in the pool, but not judged. The precision above a relevant document
-- is inferred from what is judged there; 0.00001 is trec_eval's smoothing.
WITH found AS (
  SELECT query_id, position, relevance,
    CAST(sum(CASE WHEN relevance >= $level THEN 1 ELSE 0 END) OVER above AS DOUBLE) - 1 AS relevant,
    CAST(sum(CASE WHEN relevance >= 0 AND relevance < $level THEN 1 ELSE 0 END) OVER above AS DOUBLE) AS irrelevant,
    CAST(sum(CASE WHEN relevance = -1 THEN 1 ELSE 0 END) OVER above AS DOUBLE) AS unjudged
  FROM qrels JOIN run USING (query_id, doc_id)
  WINDOW above AS (PARTITION BY query_id ORDER BY position)
),
all_relevant AS (
  SELECT query_id, CAST(count(*) AS DOUBLE) AS number
  FROM qrels
  WHERE relevance >= $level
  GROUP BY query_id
)
SELECT query_id,
  sum((1 + (relevant + irrelevant + unjudged) * (relevant + 0.00001) / (relevant + irrelevant + 0.00002)) / position)
    / min(number) AS value
FROM found JOIN all_relevant USING (query_id)
WHERE relevance >= $level
GROUP BY query_id

-- Success@k: 1 if any relevant document is among the first k.
SELECT DISTINCT query_id, 1.0 AS value
FROM qrels JOIN run USING (query_id, doc_id)
WHERE relevance >= $level AND position <= $k

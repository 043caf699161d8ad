-- MRR@k: 1 over the position of the first relevant document, if it is among the first k.
SELECT query_id, 1.0 / min(position) AS value
FROM qrels JOIN run USING (query_id, doc_id)
WHERE relevance >= $level AND position <= $k
GROUP BY query_id

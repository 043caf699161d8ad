-- P@k: the share of the first k positions that holds a relevant document.
SELECT query_id, count(*) / CAST($k AS DOUBLE) AS value
FROM qrels JOIN run USING (query_id, doc_id)
WHERE relevance >= $level AND position <= $k
GROUP BY query_id

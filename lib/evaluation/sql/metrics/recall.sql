-- R@k: the share of the relevant documents that is among the first k.
SELECT query_id, count(*) FILTER (WHERE position <= $k) / CAST(count(*) AS DOUBLE) AS value
FROM qrels LEFT JOIN run USING (query_id, doc_id)
WHERE relevance >= $level
GROUP BY query_id

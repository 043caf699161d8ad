-- NumRel: the number of relevant documents in the qrels. It is added up over queries, as in trec_eval.
SELECT query_id, CAST(count(*) AS DOUBLE) AS value
FROM qrels
WHERE relevance >= $level
GROUP BY query_id

-- NumRelRet: the number of relevant documents in the list. It is added up over queries, as in
-- trec_eval.
SELECT query_id, CAST(count(*) AS DOUBLE) AS value
FROM qrels JOIN run USING (query_id, doc_id)
WHERE relevance >= $level
GROUP BY query_id

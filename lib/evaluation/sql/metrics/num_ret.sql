-- NumRet: the number of documents in the list. It is added up over queries, as in trec_eval.
SELECT query_id, CAST(length AS DOUBLE) AS value
FROM lists

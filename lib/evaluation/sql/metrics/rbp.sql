-- RBP(p)@k: the expected share of relevant documents that a reader sees who goes on to the next one
-- with probability p (Moffat and Zobel 2008). Relevance is binary, as in ir_measures' RBP(rel=1).
SELECT query_id, sum((1 - $p) * power($p, position - 1)) AS value
FROM qrels JOIN run USING (query_id, doc_id)
WHERE relevance >= $level AND position <= $k
GROUP BY query_id

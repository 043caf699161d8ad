-- Fuses two runs by reciprocal rank fusion: a document scores the sum of 1 / (60 + rank) over the lists that it is in
-- (Cormack, Clarke and Büttcher, SIGIR 2009). Only ranks count, so there is nothing to choose.
--
--     sql -t dense=star.parquet -t lexical=bm25.parquet -f lib/evaluation/sql/fusion/rrf.sql -o fused.parquet
--
-- Both runs need the same kind of ids. The result has the columns of a run.
WITH fused AS (
  SELECT query_id, doc_id, CAST(sum(1.0 / (60 + rank)) AS FLOAT) AS score
  FROM (SELECT query_id, doc_id, rank FROM dense UNION ALL SELECT query_id, doc_id, rank FROM lexical)
  GROUP BY query_id, doc_id
)
SELECT query_id, doc_id, CAST(rank AS INT) AS rank, score
FROM (SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY score DESC, doc_id) AS rank FROM fused)
WHERE rank <= 1000
ORDER BY query_id, rank

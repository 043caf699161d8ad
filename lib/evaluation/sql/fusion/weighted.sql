-- Fuses two runs by weighted scores: weight · dense + (1 − weight) · lexical. Each list's scores are brought to the range
-- from 0 to 1 first: 1 is its best document. 0 is the least score in the list of inner products, which have no least
-- possible one, and a score of 0 in the list of BM25, which can't be less (Bruch, Gai and Ingber, "An Analysis of Fusion
-- Functions for Hybrid Retrieval", TOIS 2023). A document that is missing from a list scores 0 there.
--
--     sql -t dense=star.parquet -t lexical=bm25.parquet -t weight=weight.parquet \
--       -f lib/evaluation/sql/fusion/weighted.sql -o fused.parquet
--
-- weight.sql chooses the weight on other queries. Both runs need the same kind of ids, and as many documents a query as
-- those that the weight was chosen on had. The result has the columns of a run.
WITH lists AS (
  SELECT query_id, doc_id, score, 1 AS is_dense, min(score) OVER (PARTITION BY query_id) AS least FROM dense
  UNION ALL
  SELECT query_id, doc_id, score, 0 AS is_dense, 0 AS least FROM lexical
), scaled AS (
  SELECT query_id, doc_id, is_dense, coalesce((score - least) / nullif(best - least, 0), 1) AS score
  FROM (SELECT *, max(score) OVER (PARTITION BY query_id, is_dense) AS best FROM lists)
), fused AS (
  SELECT query_id, doc_id, CAST(sum(score * CASE is_dense WHEN 1 THEN weight ELSE 1 - weight END) AS FLOAT) AS score
  FROM scaled, weight
  GROUP BY query_id, doc_id
)
SELECT query_id, doc_id, CAST(rank AS INT) AS rank, score
FROM (SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY score DESC, doc_id) AS rank FROM fused)
WHERE rank <= 1000
ORDER BY query_id, rank

-- Chooses the weight of weighted.sql: of 0, 0.05, 0.1, … 1 the one with the best MRR@10. Where several are equally good,
-- it is the one nearest to the middle.
--
--     sql -t dense=star.train.parquet -t lexical=bm25.train.parquet -t qrels=qrels.train.parquet \
--       -f lib/evaluation/sql/fusion/weight.sql -o weight.parquet
--
-- The queries should be some that neither the model was trained on nor the table reports. The first two tables and the
-- range of the scores are those of weighted.sql.
WITH lists AS (
  SELECT query_id, doc_id, score, 1 AS is_dense, min(score) OVER (PARTITION BY query_id) AS least FROM dense
  UNION ALL
  SELECT query_id, doc_id, score, 0 AS is_dense, 0 AS least FROM lexical
), scaled AS (
  SELECT query_id, doc_id, is_dense, coalesce((score - least) / nullif(best - least, 0), 1) AS score
  FROM (SELECT *, max(score) OVER (PARTITION BY query_id, is_dense) AS best FROM lists)
), both_scores AS (
  SELECT query_id, doc_id,
    coalesce(sum(score) FILTER (WHERE is_dense = 1), 0) AS dense, coalesce(sum(score) FILTER (WHERE is_dense = 0), 0) AS lexical
  FROM scaled GROUP BY query_id, doc_id
), weights AS (
  SELECT number / 20.0 AS weight FROM (SELECT unnest(range(0, 21)) AS number)
), relevant AS (
  SELECT query_id, doc_id, dense, lexical FROM both_scores JOIN qrels USING (query_id, doc_id) WHERE relevance > 0
), ranked AS (
  -- The rank of a relevant document is one more than the number of documents before it, so that no list is sorted.
  SELECT weight, r.query_id, r.doc_id, 1 + count(*) FILTER (
    WHERE weight * o.dense + (1 - weight) * o.lexical > weight * r.dense + (1 - weight) * r.lexical
    OR (weight * o.dense + (1 - weight) * o.lexical = weight * r.dense + (1 - weight) * r.lexical AND o.doc_id < r.doc_id)
  ) AS rank
  FROM relevant AS r JOIN both_scores AS o USING (query_id), weights
  GROUP BY weight, r.query_id, r.doc_id
), firsts AS (
  SELECT weight, query_id, min(rank) AS rank FROM ranked WHERE rank <= 10 GROUP BY weight, query_id
)
-- Sums of the same numbers in another order differ in their last digits, which must not decide between weights.
SELECT weight,
  round(coalesce(sum(1.0 / rank), 0) / (SELECT count(DISTINCT query_id) FROM qrels WHERE relevance > 0), 12) AS "MRR@10"
FROM weights LEFT JOIN firsts USING (weight)
GROUP BY weight
ORDER BY "MRR@10" DESC, abs(weight - 0.5), weight
LIMIT 1

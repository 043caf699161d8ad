-- Rows that were trained on mined negatives: their metrics, and what the reports of mining say.
-- `metrics` is a folder of metrics records; `reports` is made of mining reports, with the name of the row beside each.
, scores AS (
  SELECT
    split_part(run, '.', 1) AS trained,
    max(value) FILTER (WHERE metric = 'MRR@10') AS mrr,
    max(value) FILTER (WHERE metric = 'R@100') AS recall,
    max(value) FILTER (WHERE metric = 'nDCG@10') AS ndcg
  FROM metrics WHERE query_id IS NULL GROUP BY 1
), mined AS (
  SELECT
    trained,
    max(value) FILTER (WHERE section = 'counts' AND name = 'negatives')
      / max(value) FILTER (WHERE section = 'counts' AND name = 'queries') AS per_query,
    max(value) FILTER (WHERE section = 'positive-scores' AND name = 'median') AS positive,
    max(value) FILTER (WHERE section = 'negative-scores' AND name = 'median') AS negative,
    max(value) FILTER (WHERE section = 'overlaps' AND name = 'mean') AS overlap
  FROM reports WHERE query_id IS NULL GROUP BY 1
)
SELECT
  trained AS "row",
  round(mrr, 4) AS "MRR@10",
  round(recall, 4) AS "R@100",
  round(ndcg, 4) AS "nDCG@10",
  round(per_query, 1) AS "negatives a query",
  round(positive, 3) AS "median positive",
  round(negative, 3) AS "median negative",
  round(overlap, 3) AS "of the round before"
FROM mined JOIN scores USING (trained)
ORDER BY trained

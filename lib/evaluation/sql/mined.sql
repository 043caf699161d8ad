-- Rows that were trained on mined negatives: one line a row, with its metrics and what the report of mining says.
-- lib/experiments/mining.mk puts the reports of all rows in the place of REPORTS, and a column for each metric in the
-- place of MEANS. `metrics` is a folder of metrics records; runs are named ROW.dev and ROW.test.
WITH reports AS (REPORTS), mined AS (
  SELECT
    name,
    max(value) FILTER (WHERE section = 'counts' AND fact = 'negatives')
      / max(value) FILTER (WHERE section = 'counts' AND fact = 'queries') AS per_query,
    max(value) FILTER (WHERE section = 'positive-scores' AND fact = 'median') AS positive,
    max(value) FILTER (WHERE section = 'negative-scores' AND fact = 'median') AS negative,
    max(value) FILTER (WHERE section = 'overlaps' AND fact = 'mean') AS shared
  FROM reports WHERE query_id IS NULL GROUP BY name
)
SELECT
  name AS "row", MEANS,
  round(max(per_query), 1) AS "negatives a query",
  round(max(positive), 3) AS "median positive",
  round(max(negative), 3) AS "median negative",
  round(max(shared), 3) AS "of the round before"
FROM metrics JOIN mined ON metrics.run IN (name || '.dev', name || '.test')
WHERE query_id IS NULL
GROUP BY name
ORDER BY name

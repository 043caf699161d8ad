-- Documents as codes: one line a row, with the bytes that a document takes, from the mean values of its dev and test runs.
-- lib/experiments/compressed.mk puts a column for each metric in the place of MEANS.
-- `metrics` is a folder of metrics records; runs are named ROW.dev and ROW.test, and rows of codes METHOD-BYTES. `star` has
-- the whole vectors, of float32.
WITH methods (place, method, label) AS (
  VALUES (1, 'opq', 'OPQ'), (2, 'jpq', 'JPQ'), (3, 'repconc', 'RepCONC')
), codes AS (
  SELECT name, label, place, CAST(split_part(name, '-', 2) AS BIGINT) AS bytes
  FROM (SELECT DISTINCT split_part(run, '.', 1) AS name FROM metrics)
  JOIN methods ON regexp_like(name, '^' || method || '-[0-9]+$')
), rows AS (
  SELECT 'star' AS name, 'STAR, whole' AS label, 0 AS place, (SELECT 4 * array_length(embedding) FROM star LIMIT 1) AS bytes
  UNION ALL
  SELECT name, label || ' ' || bytes, place, bytes FROM codes
)
SELECT label AS "row", bytes AS "bytes a document", MEANS
FROM metrics JOIN rows ON metrics.run IN (name || '.dev', name || '.test')
WHERE query_id IS NULL
GROUP BY place, label, bytes
ORDER BY bytes DESC, place

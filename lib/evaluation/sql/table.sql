-- The paper's table: one line a row, from the mean values of its dev and test runs.
-- `metrics` is a folder of metrics records; runs are named ROW.dev and ROW.test.
WITH single (place, name, label) AS (
  VALUES
    (0, 'bm25', 'BM25'),
    (1, 'start', 'start'),
    (2, 'inbatch-neg', 'Inbatch-Neg'),
    (3, 'rand-neg', 'Rand-Neg'),
    (4, 'bm25-neg', 'BM25-Neg'),
    (5, 'star', 'STAR'),
    (6, 'adore-inbatch-neg', 'ADORE (Inbatch-Neg)'),
    (7, 'adore-rand-neg', 'ADORE (Rand-Neg)'),
    (8, 'adore-star', 'ADORE (STAR)')
), rows AS (
  SELECT * FROM single
  UNION ALL
  SELECT place + 100, name || '+bm25', label || ' + BM25' FROM single
)
SELECT
  label AS "row",
  max(value) FILTER (WHERE metric = 'MRR@10') AS "MRR@10",
  max(value) FILTER (WHERE metric = 'R@100') AS "R@100",
  max(value) FILTER (WHERE metric = 'nDCG@10') AS "nDCG@10"
FROM metrics JOIN rows ON metrics.run IN (name || '.dev', name || '.test')
WHERE query_id IS NULL
GROUP BY place, label
ORDER BY place

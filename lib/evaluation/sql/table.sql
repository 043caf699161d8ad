-- The paper's table: one line a row, from the mean values of its dev and test runs. lib/experiments/rules.mk puts a
-- column for each metric in the place of MEANS.
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
SELECT label AS "row", MEANS
FROM metrics JOIN rows ON metrics.run IN (name || '.dev', name || '.test')
WHERE query_id IS NULL
GROUP BY place, label
ORDER BY place

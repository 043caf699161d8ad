-- The paper's table: one line a row, from the mean values of its dev and test runs. lib/experiments/rules.mk puts a
-- column for each metric in the place of MEANS.
-- `metrics` is a folder of metrics records; runs are named ROW.dev and ROW.test.
WITH rows (place, name, label) AS (
  VALUES
    (0, 'start', 'start'),
    (1, 'inbatch-neg', 'Inbatch-Neg'),
    (2, 'rand-neg', 'Rand-Neg'),
    (3, 'star', 'STAR'),
    (4, 'adore-inbatch-neg', 'ADORE (Inbatch-Neg)'),
    (5, 'adore-rand-neg', 'ADORE (Rand-Neg)'),
    (6, 'adore-star', 'ADORE (STAR)')
)
SELECT label AS "row", MEANS
FROM metrics JOIN rows ON metrics.run IN (name || '.dev', name || '.test')
WHERE query_id IS NULL
GROUP BY place, label
ORDER BY place

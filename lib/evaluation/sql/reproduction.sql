-- The authors' checkpoints: our figure beside the one that the reference prints for them, in full precision.
WITH published (form, run, checkpoint, value) AS (
  VALUES
    ('passage', 'published-star.dev', 'STAR', 0.3404237731386721),
    ('passage', 'published-adore-star.dev', 'ADORE (STAR)', 0.34660697230181425),
    ('doc', 'published-star.dev', 'STAR', 0.3903422772218344),
    ('doc', 'published-adore-star.dev', 'ADORE (STAR)', 0.4049777020859768)
)
SELECT
  p.checkpoint,
  m.metric,
  m.value,
  p.value AS published,
  m.value - p.value AS difference
FROM published AS p JOIN metrics AS m USING (run)
WHERE m.query_id IS NULL AND m.metric = 'MRR@10' AND p.form = 'FORM'
ORDER BY p.value

-- Our table `t` beside the paper's (Zhan et al., SIGIR 2021), which is about MS MARCO and TREC DL 2019.
-- doc: * As printed. Later papers quote 0.913, and 0.867 is also the passage figure: probably a slip.
WITH published (form, "row", mrr, recall, ndcg) AS (
  VALUES
    ('passage', 'Inbatch-Neg', '0.264', '0.837', '0.583'),
    ('passage', 'Rand-Neg', '0.301', '0.853', '0.612'),
    ('passage', 'STAR', '0.340', '0.867', '0.642'),
    ('passage', 'ADORE (Inbatch-Neg)', '0.316', '0.860', '0.658'),
    ('passage', 'ADORE (Rand-Neg)', '0.326', '0.865', '0.661'),
    ('passage', 'ADORE (STAR)', '0.347', '0.876', '0.683'),
    ('doc', 'Inbatch-Neg', '0.320', '0.864', '0.544'),
    ('doc', 'Rand-Neg', '0.330', '0.859', '0.572'),
    ('doc', 'STAR', '0.390', '0.867*', '0.605'),
    ('doc', 'ADORE (Inbatch-Neg)', '0.362', '0.884', '0.580'),
    ('doc', 'ADORE (Rand-Neg)', '0.361', '0.885', '0.585'),
    ('doc', 'ADORE (STAR)', '0.405', '0.919', '0.628')
)
SELECT
  t."row",
  round("MRR@10", 3) AS "MRR@10",
  mrr AS "published MRR@10",
  round("MRR@10" - CAST(mrr AS DOUBLE), 3) AS "difference MRR@10",
  round("R@100", 3) AS "R@100",
  recall AS "published R@100",
  round("R@100" - CAST(rtrim(recall, '*') AS DOUBLE), 3) AS "difference R@100",
  round("nDCG@10", 3) AS "nDCG@10",
  ndcg AS "published nDCG@10",
  round("nDCG@10" - CAST(ndcg AS DOUBLE), 3) AS "difference nDCG@10"
FROM (SELECT *, row_number() OVER () AS place FROM t) AS t
LEFT JOIN published AS p ON p."row" = t."row" AND p.form = 'FORM'
ORDER BY place

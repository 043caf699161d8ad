-- Our table `t` of documents as codes beside the published figures (JPQ: Zhan et al., CIKM 2021; RepCONC: WSDM 2022).
-- passage: MRR of OPQ and JPQ was measured in the plots of the JPQ paper, to 0.001. nDCG@10: arXiv 2203.15328.
-- doc: MRR of OPQ and JPQ was measured in the plots of the JPQ paper, to 0.001. R@100, nDCG@10, RepCONC: Longtriever (EMNLP 2023), which does not name the bytes; JPQ's figure is that of 48.
WITH published (form, "row", mrr, recall, ndcg) AS (
  VALUES
    ('passage', 'STAR, whole', 0.340, 0.867, 0.642),
    ('passage', 'OPQ 96', 0.304, NULL, NULL),
    ('passage', 'OPQ 64', 0.299, NULL, NULL),
    ('passage', 'OPQ 48', 0.290, NULL, NULL),
    ('passage', 'OPQ 32', 0.284, NULL, NULL),
    ('passage', 'OPQ 24', 0.272, NULL, NULL),
    ('passage', 'OPQ 16', 0.234, NULL, NULL),
    ('passage', 'JPQ 96', 0.341, NULL, 0.677),
    ('passage', 'JPQ 64', 0.338, NULL, NULL),
    ('passage', 'JPQ 48', 0.332, NULL, NULL),
    ('passage', 'JPQ 32', 0.317, NULL, NULL),
    ('passage', 'JPQ 24', 0.305, NULL, NULL),
    ('passage', 'JPQ 16', 0.273, NULL, NULL),
    ('doc', 'STAR, whole', 0.390, 0.867, 0.605),
    ('doc', 'OPQ 96', 0.361, NULL, NULL),
    ('doc', 'OPQ 64', 0.351, NULL, NULL),
    ('doc', 'OPQ 48', 0.340, NULL, NULL),
    ('doc', 'OPQ 32', 0.331, NULL, NULL),
    ('doc', 'OPQ 24', 0.308, NULL, NULL),
    ('doc', 'OPQ 16', 0.277, NULL, NULL),
    ('doc', 'JPQ 96', 0.401, NULL, NULL),
    ('doc', 'JPQ 64', 0.395, NULL, NULL),
    ('doc', 'JPQ 48', 0.384, 0.905, 0.608),
    ('doc', 'JPQ 32', 0.374, NULL, NULL),
    ('doc', 'JPQ 24', 0.356, NULL, NULL),
    ('doc', 'JPQ 16', 0.336, NULL, NULL),
    ('doc', 'RepCONC 48', 0.399, 0.911, 0.600)
)
SELECT
  t."row",
  "bytes a document",
  round("MRR@10", 3) AS "MRR@10",
  mrr AS "published MRR@10",
  round("MRR@10" - mrr, 3) AS "difference MRR@10",
  round("R@100", 3) AS "R@100",
  recall AS "published R@100",
  round("nDCG@10", 3) AS "nDCG@10",
  ndcg AS "published nDCG@10"
FROM (SELECT *, row_number() OVER () AS place FROM t) AS t
LEFT JOIN published AS p ON p."row" = t."row" AND p.form = 'FORM'
ORDER BY place

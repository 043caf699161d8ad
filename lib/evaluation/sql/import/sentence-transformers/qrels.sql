-- The judgements in triplets (anchor, positive, negative).
SELECT DISTINCT left(sha256(anchor), 32) AS "query-id", left(sha256(positive), 32) AS "corpus-id", 1 AS score
FROM data
ORDER BY 1, 2

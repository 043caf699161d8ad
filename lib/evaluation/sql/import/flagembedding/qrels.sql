-- The judgements in FlagEmbedding's training data.
SELECT DISTINCT left(sha256(query), 32) AS "query-id", left(sha256(text), 32) AS "corpus-id", 1 AS score
FROM (SELECT query, unnest(pos) AS text FROM data)
ORDER BY 1, 2

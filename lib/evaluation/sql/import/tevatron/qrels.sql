-- The judgements in Tevatron's training data.
SELECT DISTINCT CAST(query_id AS VARCHAR) AS "query-id", CAST(p['docid'] AS VARCHAR) AS "corpus-id", 1 AS score
FROM (SELECT query_id, unnest(positive_passages) AS p FROM data)
ORDER BY 1, 2

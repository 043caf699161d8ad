-- The queries of Tevatron's training data.
SELECT DISTINCT CAST(query_id AS VARCHAR) AS _id, query AS text FROM data ORDER BY _id

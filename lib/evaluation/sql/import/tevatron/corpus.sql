-- The passages of Tevatron's training data.
SELECT DISTINCT CAST(p['docid'] AS VARCHAR) AS _id, p['title'] AS title, p['text'] AS text
FROM (SELECT unnest(positive_passages) AS p FROM data UNION ALL SELECT unnest(negative_passages) FROM data)
WHERE p['docid'] IS NOT NULL
ORDER BY _id

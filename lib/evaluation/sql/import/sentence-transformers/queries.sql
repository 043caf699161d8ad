-- The queries of triplets (anchor, positive, negative). An id is made of the text.
SELECT DISTINCT left(sha256(anchor), 32) AS _id, anchor AS text FROM data ORDER BY _id

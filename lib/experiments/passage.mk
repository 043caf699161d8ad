# MS MARCO passage ranking, with TREC DL 2019 as the test set.

# Where results go, and the files of the collection, which may be packed (.gz, .zst).
HERE                 = $(OUT)/passage
KIND                := passage
DOCS                 = $(DATA)/collection.tsv
TRAIN_QUERIES        = $(DATA)/queries.train.tsv
TRAIN_QRELS          = $(DATA)/qrels.train.tsv
DEV_QUERIES          = $(DATA)/queries.dev.small.tsv
DEV_QRELS            = $(DATA)/qrels.dev.small.tsv
TEST_QUERIES         = $(DATA)/msmarco-test2019-queries.tsv
TEST_QRELS           = $(DATA)/2019qrels-pass.txt
LEADERBOARD_QUERIES  = $(DATA)/queries.eval.small.tsv

# The metric of the dev queries, and how many documents a query has in a run for the leaderboard.
MRR                 := MRR@10
LEADERBOARD_TOP_K    = $(TOP_K)

# The names of the settings that say how many tokens of a document are kept: in retrieval, and in training.
LENGTH              := PASSAGE_LENGTH
TRAIN_LENGTH        := TRAIN_PASSAGE_LENGTH

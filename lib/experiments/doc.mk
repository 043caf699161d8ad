# MS MARCO document ranking, with TREC DL 2019 as the test set.

# Where results go, and the files of the collection, which may be packed (.gz, .zst).
HERE                 = $(OUT)/doc
KIND                := document
DOCS                 = $(DATA)/msmarco-docs.tsv
TRAIN_QUERIES        = $(DATA)/msmarco-doctrain-queries.tsv
TRAIN_QRELS          = $(DATA)/msmarco-doctrain-qrels.tsv
DEV_QUERIES          = $(DATA)/msmarco-docdev-queries.tsv
DEV_QRELS            = $(DATA)/msmarco-docdev-qrels.tsv
TEST_QUERIES         = $(DATA)/msmarco-test2019-queries.tsv
TEST_QRELS           = $(DATA)/2019qrels-docs.txt
LEADERBOARD_QUERIES  = $(DATA)/docleaderboard-queries.tsv

# The metric of the dev queries, and how many documents a query has in a run for the leaderboard.
MRR                 := MRR@100
LEADERBOARD_TOP_K   := 100

# The names of the settings that say how many tokens of a document are kept: in retrieval, and in training.
LENGTH              := DOCUMENT_LENGTH
TRAIN_LENGTH        := TRAIN_DOCUMENT_LENGTH

# Documents as codes.
LAMBDA_CUT          ?= 10
CONC_BATCH_SIZE     ?= 256
CONC_DOC_LENGTH     ?= 512

# ADORE's metric is cut for passages only, as in the paper.
override METRIC_CUT :=
